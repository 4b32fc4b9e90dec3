"""Stripe Connect accounts of creators."""
