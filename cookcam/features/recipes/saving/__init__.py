"""Saved recipes and favourites, which are one relation."""
