"""Nutrition: what a list of ingredients amounts to."""
