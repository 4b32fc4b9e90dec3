"""Users' profiles, follows, the feed, live cooking sessions and presence."""
