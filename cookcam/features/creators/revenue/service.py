"""Reports of creators' earnings and referrals, read from the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from attrs import field, frozen

from cookcam.features.creators.connect.service import StripeAccounts
from cookcam.features.creators.links.service import Links
from cookcam.features.creators.models import Analytics, Balance, Month
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.revenue.store import RevenueStore
from cookcam.features.literals import rejected_field

MAX_REFERRALS: Final = 100
MAX_RECIPES: Final = 10
MAX_TIPS: Final = 10
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2999


@frozen
class Earnings:
    """A creator's earnings in one month, and the balance."""

    month: Month
    balance: Balance


@frozen
class Revenue:
    store: RevenueStore
    links: Links
    accounts: StripeAccounts
    payouts: Payouts
    now: Callable[[], datetime] = field(repr=False)

    async def month(self, creator_id: UUID, month: str | None, year: str | None) -> Month:
        """The earnings of a month in UTC; `month` and `year` default to the current ones.

        Raises ValidationError for invalid numbers.
        """
        now = self.now()
        return await self.store.month(
            creator_id,
            _number(year, now.year, FIRST_YEAR, LAST_YEAR, "year"),
            _number(month, now.month, 1, 12, "month"),
        )

    async def earnings(self, creator_id: UUID, month: str | None, year: str | None) -> Earnings:
        """The month's earnings and the balance. Raises like `month`."""
        return Earnings(
            await self.month(creator_id, month, year), await self.payouts.balance(creator_id)
        )

    async def analytics(self, creator_id: UUID) -> Analytics:
        """The overview, with at most 100 referrals, 10 recipes and 10 tips."""
        counts = await self.store.referral_counts(creator_id)
        return Analytics(
            month=await self.month(creator_id, None, None),
            links=await self.links.of_creator(creator_id),
            referrals=await self.store.referrals(creator_id, MAX_REFERRALS),
            referrals_total=counts.total,
            referrals_active=counts.active,
            recipes=await self.store.recipes(creator_id, MAX_RECIPES),
            tips=await self.store.tips(creator_id, MAX_TIPS),
            account=await self.accounts.of(creator_id),
        )


def _number(text: str | None, default: int, lowest: int, highest: int, name: str) -> int:
    if text is None or text == "":
        return default
    if text.isascii() and text.isdigit() and len(text) <= 4 and lowest <= int(text) <= highest:
        return int(text)
    raise rejected_field("Invalid month or year", name)
