"""XP, levels, streaks and mystery boxes."""
