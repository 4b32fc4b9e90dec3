"""Activity status of users, sent to their followers and cooking companions (docs/cooking.md)."""
