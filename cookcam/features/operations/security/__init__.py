"""Security events, and the operators' blocklist of addresses and users (docs/security.md)."""
