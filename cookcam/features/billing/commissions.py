"""What payments tell of those who brought the payer: the seam between subscriptions and creators.

Whoever learns of money tells it here, in the transaction that notes the rest of it: a commission is
booked with the payment or not at all. Things may be told more than once, and late, so every method
has to mean the same the second time. Source: `spec/payments-and-gamification.md` §5.5, §6.1, §6.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.billing.tiers.models import Subscription


@frozen
class Receipt:
    """Money that came in for a period of a subscription, without taxes.

    `ref` names the payment for all time, for instance "stripe:in_…".
    """

    ref: str
    subscription: Subscription
    net_cents: int
    currency: str
    paid_at: datetime


@frozen
class MoneyBack:
    """Money of one payment that went back, or is claimed back by a dispute.

    `back_cents` is all of it up to now, of `paid_cents`: told again with more, the difference is
    new, and 0 when a dispute was won. `ref` names the refund or the dispute, `receipt_ref` the
    `Receipt`; None for a payment that was for no subscription, such as a tip, which
    `payment_id` (Stripe's payment intent) names.
    """

    ref: str
    receipt_ref: str | None
    payment_id: str | None
    paid_cents: int
    back_cents: int
    currency: str
    at: datetime


class Commissions(Protocol):
    async def attribute(self, user_id: UUID, code: str) -> None:
        """A user is about to buy, sent by the affiliate code or slug. An unknown one is nothing."""
        ...

    async def on_first_paid(self, tx: Transaction, subscription: Subscription) -> None:
        """A subscription is paid for. Told with every sign of it: it converts once."""
        ...

    async def on_invoice_paid(self, tx: Transaction, receipt: Receipt) -> None:
        """Books what is due of it; a sign of a paid subscription, as `on_first_paid` is."""
        ...

    async def on_refund(self, tx: Transaction, back: MoneyBack) -> None: ...

    async def on_ended(self, tx: Transaction, ended: Sequence[Subscription]) -> None:
        """These no longer go on at their providers."""
        ...
