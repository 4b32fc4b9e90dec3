"""Completion photos of cooked recipes."""
