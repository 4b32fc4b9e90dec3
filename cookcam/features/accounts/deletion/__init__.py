"""Account deletion: a durable job and its receipt (docs/accounts.md)."""
