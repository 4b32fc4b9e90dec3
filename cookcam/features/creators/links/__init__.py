"""Affiliate links and the visits through them."""
