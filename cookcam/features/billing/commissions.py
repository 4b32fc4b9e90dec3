"""Commissions: the interface between subscriptions and creators (docs/creators.md).

Called in the transaction that records the payment, so that a commission is booked with it or not at
all. Payments may be reported more than once, and late: every method is idempotent.
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
    """A payment for a period of a subscription, without taxes.

    `ref` identifies the payment, for instance "stripe:in_…".
    """

    ref: str
    subscription: Subscription
    net_cents: int
    currency: str
    paid_at: datetime


@frozen
class MoneyBack:
    """The part of a payment that was refunded, or is in dispute.

    `back_cents` is the total up to now, of `paid_cents`: of a higher total only the difference is
    new; it is 0 when a dispute was won. `ref` names the refund or the dispute, `receipt_ref` the
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
        """Attributes a user who is about to buy to an affiliate code or slug. Ignores unknown
        ones."""
        ...

    async def on_first_paid(self, tx: Transaction, subscription: Subscription) -> None:
        """Records a paid subscription. Called for every payment; the first one converts."""
        ...

    async def on_invoice_paid(self, tx: Transaction, receipt: Receipt) -> None:
        """Books the commission; includes `on_first_paid`."""
        ...

    async def on_refund(self, tx: Transaction, back: MoneyBack) -> None: ...

    async def on_ended(self, tx: Transaction, ended: Sequence[Subscription]) -> None:
        """Records subscriptions that are no longer live at their providers."""
        ...
