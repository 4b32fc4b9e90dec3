"""XP, levels, streaks and achievements: `spec/database.md` §3, `spec/http-api-core.md` §5."""
