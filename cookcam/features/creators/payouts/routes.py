"""Routes of a creator's balance and payouts."""

from __future__ import annotations

import hashlib

from quart import request

from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.creators.payouts.responses import (
    BalanceResponse,
    PayoutListResponse,
    PayoutPagination,
    PayoutResponse,
    PayoutRow,
)
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.requests import PayoutRequest
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    unconditional,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.http.rate_limit import PAYMENTS
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 200


def add_payout_routes(bp: Routes, payouts: Payouts, gates: Gates) -> None:
    @bp.get("/subscription/creator/balance")
    @errors_as(unexpected="Failed to get creator balance")
    @unconditional
    @signed_in
    @gates.creator
    @validate_response(BalanceResponse)
    async def get_balance(caller: Identity) -> BalanceResponse:
        """The caller's earnings, and the part that can be paid out."""
        balance = await payouts.balance(caller.user_id)
        return BalanceResponse.of(balance, payouts.next_payday())

    @bp.post("/subscription/creator/payout")
    @errors_as(unexpected="Failed to request payout")
    @signed_in
    @user_limit(PAYMENTS)
    @gates.creator
    @document_failures(409)
    @validate_request(PayoutRequest)
    @validate_response(PayoutResponse)
    async def request_payout(caller: Identity, data: PayoutRequest) -> PayoutResponse:
        """Pay out a part of the balance. With `Idempotency-Key`, at most once for each key."""
        key = request.headers.get(HEADER, "").strip()
        if len(key) > MAX_KEY_LENGTH:
            key = hashlib.sha256(key.encode()).hexdigest()
        payout = await payouts.request(caller.user_id, data.cents(), key or None)
        return PayoutResponse(True, PayoutRow.of(payout), "Payout request submitted successfully")

    @bp.get("/subscription/creator/payouts/history")
    @errors_as(unexpected="Failed to get payout history")
    @unconditional
    @signed_in
    @gates.creator
    @validate_response(PayoutListResponse)
    async def list_payouts(caller: Identity) -> PayoutListResponse:
        """The caller's payouts, newest first; `limit` is clamped to 1..100."""
        limit, offset = _page("limit", 20, 1, 100), _page("offset", 0, 0, 10**6)
        page, total = await payouts.history(caller.user_id, limit, offset)
        return PayoutListResponse.of(page, PayoutPagination(limit, offset, total))


def _page(name: str, default: int, lowest: int, highest: int) -> int:
    """A number from the query string, clamped to its limits; the default for other text."""
    text = request.args.get(name, "")
    negative = text.startswith("-")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        return default
    return max(lowest, min(highest, -int(digits) if negative else int(digits)))
