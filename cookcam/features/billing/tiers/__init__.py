"""Tiers, their features and quotas, and the routes that show them."""
