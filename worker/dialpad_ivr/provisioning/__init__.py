"""Provisioning: many changes as one plan, applied by one workflow, and rolled back by another plan."""
