"""Mystery boxes: random rewards for scans (docs/mystery-boxes.md)."""
