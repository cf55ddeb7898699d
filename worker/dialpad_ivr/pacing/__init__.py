"""Rate limiting: when a call may leave, so that Dialpad never answers 429. Knows nothing of HTTP or the engine."""
