"""Health checks, retention and idempotent requests."""
