"""The tasks, as plain async functions that need no engine."""
