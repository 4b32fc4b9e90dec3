"""Purchases in the app stores: validation, notifications, proceeds."""
