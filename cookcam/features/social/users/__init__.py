"""Public user profiles, user search and follows."""
