"""Compares what providers say with what is stored: docs/reconciliation.md."""
