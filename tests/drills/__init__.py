"""Rehearsals of what operators do in an emergency."""
