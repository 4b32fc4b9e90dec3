"""Idempotent requests: the header `Idempotency-Key`."""
