"""The Conductor server: its REST API, the definitions registered on it, and following workflows."""
