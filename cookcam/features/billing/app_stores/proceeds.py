"""The proceeds of a purchase: the store's price without the store's fee.

| source                      | proceeds                                                       |
|-----------------------------|----------------------------------------------------------------|
| a signed transaction        | its price less Apple's fee                                     |
| a receipt without a price   | the tier's price less Apple's fee                              |
| Google's order              | the revenue that Google states; else the total without taxes   |
|                             |   less Google's fee                                            |
| no order: Google does not   | the plan's recurring price, or the tier's, less Google's fee;  |
|   respond or rejects it     |   only if the period was certainly paid in full                |

Free trials, and subscriptions shared by a family member, have no proceeds; nor has a period at the
price of an offer when the store does not report that price. A period is identified by the store's
id (Apple: of the transaction, Google: of the order) and booked once, also when it is reported
repeatedly. See docs/purchases.md.
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
from cookcam.features.billing.app_stores.models import PaidPeriod, Purchase, ReturnedMoney
from cookcam.features.billing.tiers.models import Platform, Product
from cookcam.features.billing.tiers.service import Catalogue
from cookcam.integrations.app_store import ALL, AppleSubscription
from cookcam.integrations.google_play import GoogleOrder, GooglePlay, GoogleSubscription
from cookcam.integrations.provider_calls import ProviderUnavailable

TIMEOUT: Final = 3.0
"""Seconds that a purchase waits for the price from Google."""

ZERO_DECIMAL: Final = frozenset(
    {
        *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv"),
        *("xaf", "xof", "xpf"),
    }
)
THREE_DECIMAL: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
"""Currencies whose smallest unit is not a hundredth. Source: Stripe's page on currencies."""

log = structlog.get_logger(__name__)


@frozen
class StoreProceeds:
    """`fees` are the stores' fees in percent; the stores do not report them."""

    catalogue: Catalogue
    google_play: GooglePlay
    fees: Mapping[Platform, int]

    async def of_apple(
        self, purchase: Purchase, subscription: AppleSubscription, *, restored: bool = False
    ) -> Purchase:
        """The purchase with the proceeds of its transaction; `restored`: a refund was reversed."""
        if purchase.environment == "sandbox" or subscription.shared or subscription.trial:
            return purchase
        if subscription.price is not None and subscription.currency is not None:
            price, currency = subscription.price, subscription.currency
        else:
            price, currency = await self._price(purchase.product)
        net, ref = self._less_fee("ios", price, currency), f"apple:{subscription.transaction_id}"
        if net <= 0:
            return purchase
        paid, returned = (
            PaidPeriod(ref, net, currency, subscription.purchased_at),
            list[ReturnedMoney](),
        )
        if subscription.revoked_at is not None or restored:
            back = (
                0
                if subscription.revoked_at is None
                else net * min(subscription.revoked_part, ALL) // ALL
            )
            returned.append(ReturnedMoney(ref, net, back, currency, purchase.as_of))
        unknown = subscription.price is None and subscription.discounted
        return evolve(purchase, paid=None if unknown else paid, returned=returned)

    async def of_google(
        self, purchase: Purchase, subscription: GoogleSubscription, voided: str | None = None
    ) -> Purchase:
        """The purchase with the proceeds of its newest order; `voided` is the refunded order, if
        known."""
        if purchase.environment == "sandbox" or purchase.status is None:
            return purchase
        newest = None if subscription.trial else subscription.order_id
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
        paid = (
            None
            if newest is None
            else await self._google_paid(purchase, subscription, orders[newest])
        )
        return evolve(purchase, paid=paid, returned=returned)

    async def of_voided(self, order_id: str | None, at: datetime) -> Sequence[ReturnedMoney]:
        """The refund of an order, for a purchase that Google has deleted."""
        if order_id is None:
            return []
        back = _google_return(order_id, await self._order(order_id), at, revoked=True)
        return [back] if back else []

    async def _google_paid(
        self, purchase: Purchase, subscription: GoogleSubscription, order: GoogleOrder | None
    ) -> PaidPeriod | None:
        if order is not None:
            net = 0 if order.state == "CANCELED" else self._net_of(order)
            at, currency = order.created_at, order.total.currency
            return PaidPeriod(_google_ref(order.id), net, currency, at) if net > 0 else None
        # Of an overdue, suspended or ended subscription the last order may be that of a free trial.
        if (
            subscription.state not in ("ACTIVE", "CANCELED")
            or subscription.discounted
            or subscription.order_id is None
        ):
            return None
        price, currency = await self._price(purchase.product)
        if subscription.recurring_price is not None:
            price, currency = (
                subscription.recurring_price.amount,
                subscription.recurring_price.currency,
            )
        net, at = (
            self._less_fee("android", price, currency),
            min(purchase.period_start, purchase.as_of),
        )
        return (
            PaidPeriod(_google_ref(subscription.order_id), net, currency, at) if net > 0 else None
        )

    def _net_of(self, order: GoogleOrder) -> int:
        if order.revenue is not None and not order.returned:
            return minor_units(order.revenue.amount, order.revenue.currency)
        # After a partial refund Google's revenue is the reduced one. The refund is a booking of its
        # own here, so the full amount is computed.
        return self._less_fee("android", order.total.amount - order.tax, order.total.currency)

    async def _order(self, order_id: str) -> GoogleOrder | None:
        """None if Google does not respond, since the purchase is valid without it."""
        try:
            with trio.move_on_after(TIMEOUT):
                return await self.google_play.order(order_id)
            raise ProviderUnavailable()
        except AppError as error:
            log.warning("Google order could not be read", code=error.code)
            return None

    async def _price(self, product: Product) -> tuple[Decimal, str]:
        """The tier's price of a product, in units of the currency."""
        tier = (await self.catalogue.contents()).tier(product.tier_id)
        yearly = product.interval == "year"
        cents = tier.price_yearly_cents if yearly else tier.price_monthly_cents
        return Decimal(cents).scaleb(-_decimals(tier.currency)), tier.currency

    def _less_fee(self, platform: Platform, price: Decimal, currency: str) -> int:
        """Minor units, half of one rounded up."""
        return minor_units(price * (100 - self.fees[platform]) / 100, currency)


def _google_return(
    order_id: str, order: GoogleOrder | None, at: datetime, revoked: bool
) -> ReturnedMoney | None:
    """The refund of an order: the amount that Google reports, else the total if `revoked`."""
    ref = _google_ref(order_id)
    if order is None:
        return ReturnedMoney(ref, 1, 1, "usd", at) if revoked else None
    currency = order.total.currency
    total = minor_units(order.total.amount, currency)
    back = minor_units(order.returned, currency) or (total if revoked else 0)
    return ReturnedMoney(ref, total, back, currency, at) if back > 0 else None


def _google_ref(order_id: str) -> str:
    return f"google:{order_id}"


def minor_units(amount: Decimal, currency: str) -> int:
    """An amount of `currency` in the smallest unit that Stripe uses for it: cents, whole yen.

    Amounts of all providers are stored in these units.
    """
    return int(amount.scaleb(_decimals(currency)).quantize(Decimal(1), ROUND_HALF_UP))


def _decimals(currency: str) -> int:
    currency = currency.lower()
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2
