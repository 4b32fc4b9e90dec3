"""Handlers of the Stripe events that concern creators."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from cookcam.features.billing.stripe.handlers import Handler
from cookcam.features.creators.connect.service import StripeAccounts
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.tips.service import Tips


@frozen
class CreatorEvents:
    """Implements `ConnectEvents` of `cookcam.features.billing`."""

    accounts: StripeAccounts
    payouts: Payouts
    tips: Tips

    @property
    def of_accounts(self) -> Mapping[str, Handler]:
        return {
            "account.updated": self.accounts.updated,
            "account.application.deauthorized": self.accounts.deauthorized,
            "payout.paid": self.payouts.bank_paid,
            "payout.failed": self.payouts.bank_failed,
        }

    @property
    def of_platform(self) -> Mapping[str, Handler]:
        return {
            "transfer.created": self.payouts.transfer_made,
            "transfer.reversed": self.payouts.transfer_reversed,
            "payment_intent.succeeded": self.tips.succeeded,
            "payment_intent.canceled": self.tips.cancelled,
        }
