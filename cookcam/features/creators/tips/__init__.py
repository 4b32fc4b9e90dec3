"""Tips from users to creators."""
