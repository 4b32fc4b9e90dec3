"""Nutrition of lists of ingredients and of recipes."""
