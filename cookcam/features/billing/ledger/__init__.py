"""Entitlements: the tier that each user has paid for, and every change of it."""
