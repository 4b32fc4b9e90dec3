"""Sources of subscriptions: what reconciliation reads from each provider."""
