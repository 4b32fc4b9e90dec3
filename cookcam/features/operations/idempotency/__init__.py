"""Requests that may be repeated: `Idempotency-Key` (`spec/http-api-core.md` §9.1)."""
