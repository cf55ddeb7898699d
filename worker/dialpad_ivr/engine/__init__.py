"""The Conductor server: its REST API, the definitions on it, and workflows followed to their end."""
