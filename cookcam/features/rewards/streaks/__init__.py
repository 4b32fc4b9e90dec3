"""Streaks: consecutive days with a cooked recipe, and the tokens that freeze a missed day."""
