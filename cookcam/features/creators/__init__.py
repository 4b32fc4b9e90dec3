"""Creators: who came through them, what they earn by it and by tips, and how it is paid out."""
