"""Recipes: list, search, read, create, change and delete."""
