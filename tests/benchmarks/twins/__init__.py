"""Servers in other frameworks that do the work of three routes of the product."""
