"""The live feed: shared recipes and scans, likes and comments, requests to cook together."""
