"""Dialpad custom-IVR changes as a first-class task of the Conductor workflow engine."""

__version__ = "0.1.0"
