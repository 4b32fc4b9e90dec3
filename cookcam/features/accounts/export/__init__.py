"""Export of a user's data as a ZIP of JSON files (docs/accounts.md)."""
