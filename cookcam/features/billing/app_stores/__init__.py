"""Purchases in the app stores: proving them, following them, and keeping what was said of them."""
