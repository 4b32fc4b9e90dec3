"""Leaderboards by period, among all users or among friends, and the rank of a user."""
