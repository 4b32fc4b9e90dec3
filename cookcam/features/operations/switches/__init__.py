"""Maintenance and read-only mode."""
