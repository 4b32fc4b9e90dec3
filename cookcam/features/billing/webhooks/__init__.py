"""The webhook inbox: events of the providers, stored before they are applied."""
