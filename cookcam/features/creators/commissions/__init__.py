"""Commissions of creators on payments of the users they referred."""
