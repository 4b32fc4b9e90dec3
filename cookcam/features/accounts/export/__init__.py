"""Everything we hold of a person, as a ZIP of JSON files (docs/accounts.md)."""
