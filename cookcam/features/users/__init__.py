"""People as others see them: public profiles, search, and who follows whom."""
