"""Tiers, entitlements, and the ledger through which subscriptions change."""
