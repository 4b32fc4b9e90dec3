"""Ratings of recipes."""
