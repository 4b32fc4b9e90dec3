"""Recipes: those people write, list, search and read."""
