"""Compares the providers' subscriptions with the stored ones (docs/reconciliation.md)."""
