"""Saved recipes: bookmarks and favourites, which are the same."""
