"""Product analytics: events of the app, dashboards and business figures (docs/analytics.md)."""
