"""What a purchase brings us: the price that the store tells, without the share that it keeps.

| told by                     | what is ours of it                                             |
|-----------------------------|----------------------------------------------------------------|
| a signed transaction        | its price less Apple's fee                                     |
| a receipt, which has none   | the tier's price less Apple's fee                              |
| Google's order              | the revenue that Google states; else the total without taxes   |
|                             |   less Google's fee                                            |
| no order, for Google is     | the plan's recurring price, or the tier's, less Google's fee;  |
|   silent or refuses it      |   only while it is sure that the period was paid in full       |

Free trials and what another member of the family paid bring nothing; neither does a period at the
price of an offer that nobody tells. A period is one payment for all time, by the store's own id of
it (Apple: the transaction's, Google: the order's), however often it is told. Source:
`spec/payments-and-gamification.md` §6.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import structlog
import trio
from attrs import evolve, frozen

from cookcam.errors import AppError
from cookcam.features.billing.app_stores.models import Paid, Purchase, Returned
from cookcam.features.billing.stripe.products import Platform, Product
from cookcam.features.billing.tiers.catalogue import Catalogue
from cookcam.integrations.app_store import ALL, AppleSubscription
from cookcam.integrations.google_play import GoogleOrder, GooglePlay, GoogleSubscription
from cookcam.integrations.provider_calls import ProviderUnavailable

TIMEOUT: Final = 3.0
"""Seconds that a purchase waits for Google to tell its price."""

log = structlog.get_logger(__name__)


@frozen
class Takings:
    """`fees` are what the stores keep of a price, in percent: they tell it nowhere."""

    catalogue: Catalogue
    google_play: GooglePlay
    fees: Mapping[Platform, int]

    async def of_apple(
        self, purchase: Purchase, told: AppleSubscription, *, restored: bool = False
    ) -> Purchase:
        """The purchase with what its transaction brings; `restored` is one whose money had gone
        back and was taken again."""
        if purchase.environment == "sandbox" or told.shared or told.trial:
            return purchase
        if told.price is not None and told.currency is not None:
            price, currency = told.price, told.currency
        else:
            price, currency = await self._price(purchase.product)
        net, ref = self._less_fee("ios", price), f"apple:{told.transaction_id}"
        if net <= 0:
            return purchase
        paid, returned = Paid(ref, net, currency, told.purchased_at), list[Returned]()
        if told.revoked_at is not None or restored:
            back = 0 if told.revoked_at is None else net * min(told.revoked_part, ALL) // ALL
            returned.append(Returned(ref, net, back, currency, purchase.as_of))
        unknown = told.price is None and told.discounted
        return evolve(purchase, paid=None if unknown else paid, returned=returned)

    async def of_google(
        self, purchase: Purchase, told: GoogleSubscription, voided: str | None = None
    ) -> Purchase:
        """The purchase with what its newest order brings; `voided` is the order whose money went
        back, where it is known which."""
        if purchase.environment == "sandbox" or purchase.status is None:
            return purchase
        newest = None if told.trial else told.order_id
        revoked = voided or (newest if purchase.refunded else None)
        orders = {
            order_id: await self._order(order_id)
            for order_id in dict.fromkeys((newest, revoked))
            if order_id is not None
        }
        returned = [
            back
            for order_id, order in orders.items()
            if (back := _google_return(order_id, order, purchase.as_of, order_id == revoked))
        ]
        paid = None if newest is None else await self._google_paid(purchase, told, orders[newest])
        return evolve(purchase, paid=paid, returned=returned)

    async def of_voided(self, order_id: str | None, at: datetime) -> Sequence[Returned]:
        """What went back of an order by itself, for a purchase that Google no longer knows."""
        if order_id is None:
            return []
        back = _google_return(order_id, await self._order(order_id), at, revoked=True)
        return [back] if back else []

    async def _google_paid(
        self, purchase: Purchase, told: GoogleSubscription, order: GoogleOrder | None
    ) -> Paid | None:
        if order is not None:
            net = 0 if order.state == "CANCELED" else self._net_of(order)
            at, currency = order.created_at, order.total.currency
            return Paid(_google_ref(order.id), net, currency, at) if net > 0 else None
        # Overdue, on hold or over: the last order may as well have been that of a free trial.
        if told.state not in ("ACTIVE", "CANCELED") or told.discounted or told.order_id is None:
            return None
        price, currency = await self._price(purchase.product)
        if told.recurring_price is not None:
            price, currency = told.recurring_price.amount, told.recurring_price.currency
        net, at = self._less_fee("android", price), min(purchase.period_start, purchase.as_of)
        return Paid(_google_ref(told.order_id), net, currency, at) if net > 0 else None

    def _net_of(self, order: GoogleOrder) -> int:
        if order.revenue is not None and not order.returned:
            return _cents(order.revenue.amount)
        # Of what was partly given back Google states the rest alone, and that is booked by itself.
        return self._less_fee("android", order.total.amount - order.tax)

    async def _order(self, order_id: str) -> GoogleOrder | None:
        """None where Google does not say: what was bought counts all the same."""
        try:
            with trio.move_on_after(TIMEOUT):
                return await self.google_play.order(order_id)
            raise ProviderUnavailable()
        except AppError as error:
            log.warning("Google does not tell what was paid", code=error.code)
            return None

    async def _price(self, product: Product) -> tuple[Decimal, str]:
        """What we ask for a product, in units of the currency."""
        tier = (await self.catalogue.contents()).tier(product.tier_id)
        yearly = product.interval == "year"
        cents = tier.price_yearly_cents if yearly else tier.price_monthly_cents
        return Decimal(cents) / 100, tier.currency

    def _less_fee(self, platform: Platform, price: Decimal) -> int:
        """Cents, half of one rounded up."""
        return _cents(price * (100 - self.fees[platform]) / 100)


def _google_return(
    order_id: str, order: GoogleOrder | None, at: datetime, revoked: bool
) -> Returned | None:
    """What of an order went back; all of a `revoked` one, unless Google says how much."""
    ref = _google_ref(order_id)
    if order is None:
        return Returned(ref, 1, 1, "usd", at) if revoked else None
    total = _cents(order.total.amount)
    back = _cents(order.returned) or (total if revoked else 0)
    return Returned(ref, total, back, order.total.currency, at) if back > 0 else None


def _google_ref(order_id: str) -> str:
    return f"google:{order_id}"


def _cents(amount: Decimal) -> int:
    return int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))
