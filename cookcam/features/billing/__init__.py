"""Tiers, who is entitled to which, and the one way in which that changes."""
