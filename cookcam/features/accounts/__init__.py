"""Accounts: signing up, in and out, and the profile behind an identity."""
