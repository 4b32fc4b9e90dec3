"""Ingredients, their nutrition, and scans of photographs."""
