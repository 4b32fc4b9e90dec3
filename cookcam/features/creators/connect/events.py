"""Handles the Stripe events that concern creators."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.creators.connect.service import AccountReading, StripeAccounts
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.tips.service import Tips
from cookcam.features.messaging.notifications.messages import Notification
from cookcam.integrations.stripe.events import Event


@frozen
class CreatorEvents:
    """Implements `ConnectEvents` of `cookcam.features.billing`."""

    accounts: StripeAccounts
    payouts: Payouts
    tips: Tips

    @property
    def account_types(self) -> Collection[str]:
        return (
            "account.updated",
            "account.application.deauthorized",
            "payout.paid",
            "payout.failed",
        )

    @property
    def platform_types(self) -> Collection[str]:
        return (
            "transfer.created",
            "transfer.reversed",
            "payment_intent.succeeded",
            "payment_intent.canceled",
        )

    async def read(self, event: Event) -> AccountReading | None:
        return await self.accounts.read(event) if event.type == "account.updated" else None

    async def apply(
        self, tx: Transaction, event: Event, reading: AccountReading | None
    ) -> Sequence[Notification]:
        match event.type:
            case "account.updated" if reading is not None:
                await self.accounts.store_reading(tx, reading)
            case "account.application.deauthorized":
                await self.accounts.deauthorize(tx, event)
            case "payout.paid":
                await self.payouts.bank_paid(tx, event)
            case "payout.failed":
                return await self.payouts.bank_failed(tx, event)
            case "transfer.created" | "transfer.reversed":
                await self.payouts.apply_transfer(tx, event)
            case "payment_intent.succeeded":
                await self.tips.succeeded(tx, event)
            case "payment_intent.canceled":
                await self.tips.cancelled(tx, event)
            case _:
                pass
        return []
