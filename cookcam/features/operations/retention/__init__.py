"""Deletion of expired rows and payloads (docs/retention.md)."""
