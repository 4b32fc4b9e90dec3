"""Ingredients: the food catalogue, its search, and the USDA data behind it."""
