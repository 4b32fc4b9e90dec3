"""Completion photos: what people cooked from a recipe."""
