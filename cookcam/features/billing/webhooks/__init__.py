"""The webhook inbox: events of Stripe, Apple and Google are stored before they are applied."""
