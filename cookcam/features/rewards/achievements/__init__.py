"""Achievements and their state for a user."""
