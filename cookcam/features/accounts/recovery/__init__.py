"""Password reset and e-mail verification."""
