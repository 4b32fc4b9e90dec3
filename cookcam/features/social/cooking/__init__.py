"""Cooking together live: cooking sessions, their rooms and participants (docs/cooking.md)."""
