"""Response bodies of the balance and payout routes; amounts in dollars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.creators.models import Balance, Payout, PayoutStatus
from cookcam.features.creators.money import dollars
from cookcam.http.responses import response_from


class BalanceResponse(Struct, kw_only=True):
    success: bool
    total_earnings: float
    available_balance: float
    pending_balance: float
    last_payout_date: datetime | None
    next_payout_date: datetime

    @classmethod
    def of(cls, balance: Balance, next_payday: datetime) -> BalanceResponse:
        return cls(
            success=True,
            total_earnings=dollars(balance.total_cents),
            available_balance=dollars(balance.available_cents),
            pending_balance=dollars(balance.pending_cents),
            last_payout_date=balance.last_payout_at,
            next_payout_date=next_payday,
        )


class PayoutRow(Struct, kw_only=True):
    id: UUID
    creator_id: UUID | None
    stripe_account_id: str | None
    amount: float
    currency: str
    method: str
    status: PayoutStatus
    stripe_transfer_id: str | None
    stripe_payout_id: str | None
    notes: str | None
    requested_at: datetime
    processed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, payout: Payout) -> PayoutRow:
        return response_from(
            cls, payout, amount=dollars(payout.amount_cents), created_at=payout.requested_at
        )


class PayoutResponse(Struct):
    success: bool
    payout: PayoutRow
    message: str


class PayoutPagination(Struct):
    limit: int
    offset: int
    total: int


class PayoutListResponse(Struct):
    success: bool
    payouts: list[PayoutRow]
    pagination: PayoutPagination

    @classmethod
    def of(cls, payouts: Sequence[Payout], pagination: PayoutPagination) -> PayoutListResponse:
        return cls(True, [PayoutRow.of(payout) for payout in payouts], pagination)
