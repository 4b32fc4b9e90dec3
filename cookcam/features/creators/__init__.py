"""Creators: referrals, earnings from commissions and tips, and payouts (docs/creators.md)."""
