"""Recipes: the catalogue, saving, ratings, photos, and generation by a language model."""
