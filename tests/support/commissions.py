"""Who hears of payments in tests that are not about creators."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.billing.commissions import MoneyBack, Receipt
from cookcam.features.billing.tiers.models import Subscription


@frozen
class NoCommissions:
    """Ignores all payments: no referrals, no commissions."""

    async def attribute(self, user_id: UUID, code: str) -> None: ...

    async def on_first_paid(self, tx: Transaction, subscription: Subscription) -> None: ...

    async def on_invoice_paid(self, tx: Transaction, receipt: Receipt) -> None: ...

    async def on_refund(self, tx: Transaction, back: MoneyBack) -> None: ...

    async def on_ended(self, tx: Transaction, ended: Sequence[Subscription]) -> None: ...
