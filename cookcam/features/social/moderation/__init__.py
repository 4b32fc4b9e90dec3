"""Safety between users: blocks, reports, and the decisions of moderators (docs/safety.md)."""
