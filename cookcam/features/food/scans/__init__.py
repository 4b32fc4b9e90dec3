"""Scans: photographs of food, and the ingredients seen on them."""
