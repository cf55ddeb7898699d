"""The Dialpad API: client, response parsing, redaction, and what a response means. Knows nothing of the engine."""
