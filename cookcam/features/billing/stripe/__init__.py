"""Stripe: checkout, plan changes and events."""
