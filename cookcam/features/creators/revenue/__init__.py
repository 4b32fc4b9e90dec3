"""Revenue and analytics of a creator."""
