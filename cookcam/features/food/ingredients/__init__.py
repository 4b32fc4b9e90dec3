"""The ingredient catalogue, its search, and its USDA data."""
