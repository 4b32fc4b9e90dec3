"""Backups: dumps of the whole database that the server makes."""
