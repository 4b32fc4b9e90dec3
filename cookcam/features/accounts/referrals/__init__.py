"""Referral codes, and the attribution of users to creators."""
