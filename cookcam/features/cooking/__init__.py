"""Cooking together, live: cooking sessions, their rooms, and who takes part."""
