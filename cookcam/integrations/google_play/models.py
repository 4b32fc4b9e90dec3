"""Models of `purchases.subscriptionsv2` and `orders`, with some older fields for audits.

Source: Google's reference of these resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, cast, get_args

from attrs import field, frozen

State = Literal[
    "PENDING",
    "ACTIVE",
    "PAUSED",
    "IN_GRACE_PERIOD",
    "ON_HOLD",
    "CANCELED",
    "EXPIRED",
    "PENDING_PURCHASE_CANCELED",
]
PREFIX = "SUBSCRIPTION_STATE_"

OrderState = Literal[
    "PENDING", "PROCESSED", "CANCELED", "PENDING_REFUND", "PARTIALLY_REFUNDED", "REFUNDED"
]


@frozen
class GoogleMoney:
    """`amount` in units of `currency`."""

    amount: Decimal
    currency: str


@frozen
class GoogleOrder:
    """A payment. `revenue` is our part: without taxes, Google's fee and refunds; None where Google
    does not send it. `returned` is the refunded part of `total`.
    """

    id: str
    state: OrderState
    created_at: datetime
    total: GoogleMoney
    tax: Decimal
    revenue: GoogleMoney | None
    returned: Decimal


@frozen
class GoogleSubscription:
    """A subscription at `as_of`, the moment before the request.

    `state` is Google's state without its prefix, also an unknown one. `product_id` is None for a
    purchase without items, `expires_at` for an unpaid one. `account_token` is the id that our app
    sent with the purchase. `recurring_price` is the price of a renewal, without taxes where they
    are added to it; a `discounted` period has another price.
    """

    token: str = field(repr=False)
    product_id: str | None
    state: State | str
    as_of: datetime
    started_at: datetime | None
    expires_at: datetime | None
    order_id: str | None
    renews: bool
    trial: bool
    test: bool
    acknowledged: bool
    cancelled_at: datetime | None
    cancel_reason: int | None
    linked_token: str | None = field(repr=False)
    account_token: str | None
    country: str | None
    recurring_price: GoogleMoney | None
    discounted: bool

    def audit(self) -> dict[str, Any]:
        """The fields of the older resource `purchases.subscriptions`."""
        payment = {"PENDING": 0, "ON_HOLD": 0, "IN_GRACE_PERIOD": 0}.get(self.state, 1)
        return {
            "subscriptionState": self.state,
            "paymentState": 2 if self.trial else payment,
            "startTimeMillis": _milliseconds(self.started_at),
            "expiryTimeMillis": _milliseconds(self.expires_at),
            "orderId": self.order_id,
            "acknowledgementState": int(self.acknowledged),
            "autoRenewing": self.renews,
            "cancelReason": self.cancel_reason,
            "purchaseType": 0 if self.test else None,
            "countryCode": self.country,
        }


def subscription_of(
    token: str, body: Mapping[str, Any], as_of: datetime, known: Callable[[str], bool]
) -> GoogleSubscription:
    """Parses a purchase. Of several items it is the one with a `known` product that ends last.

    Raises KeyError, TypeError, ValueError or AttributeError for another shape.
    """
    state = body["subscriptionState"]
    if not isinstance(state, str):
        raise TypeError("not a state")
    item = max(
        _items(body.get("lineItems")),
        key=lambda item: (known(item["productId"]), item.get("expiryTime") or ""),
        default=dict[str, Any](),
    )
    cancel_reason, cancelled_at = _cancellation(_part(body, "canceledStateContext"))
    return GoogleSubscription(
        token=token,
        product_id=item.get("productId"),
        state=state.removeprefix(PREFIX),
        as_of=as_of,
        started_at=_time(body.get("startTime")),
        expires_at=_time(item.get("expiryTime")),
        order_id=item.get("latestSuccessfulOrderId") or body.get("latestOrderId"),
        renews=bool(_part(item, "autoRenewingPlan").get("autoRenewEnabled")),
        trial=_part(item, "offerPhase").get("freeTrial") is not None,
        test=body.get("testPurchase") is not None,
        acknowledged=body.get("acknowledgementState") == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED",
        cancelled_at=cancelled_at,
        cancel_reason=cancel_reason,
        linked_token=body.get("linkedPurchaseToken"),
        account_token=_part(body, "externalAccountIdentifiers").get("obfuscatedExternalAccountId"),
        country=body.get("regionCode"),
        recurring_price=_money(_part(_part(item, "autoRenewingPlan"), "recurringPrice")),
        discounted=any(_part(item, "offerPhase").get(name) is not None for name in _DISCOUNTED),
    )


def _items(listed: object) -> list[dict[str, Any]]:
    """The items of a purchase; one without a product is left out."""
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    items = [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]
    return [
        item if isinstance(item.get("expiryTime"), str) else {**item, "expiryTime": None}
        for item in items
        if isinstance(item.get("productId"), str)
    ]


_DISCOUNTED = frozenset({"introductoryPrice", "prorationPeriod"})
"""Phases of an offer at a reduced price."""


def order_of(body: Mapping[str, Any]) -> GoogleOrder:
    """Raises KeyError, TypeError, ValueError or AttributeError for another shape."""
    state, created_at = str(body["state"]), _time(body["createTime"])
    total = _money(_part(body, "total"))
    if state not in get_args(OrderState) or created_at is None or total is None:
        raise ValueError(state)
    tax = _money(_part(body, "tax"))
    return GoogleOrder(
        id=str(body["orderId"]),
        state=cast("OrderState", state),
        created_at=created_at,
        total=total,
        tax=tax.amount if tax else Decimal(0),
        revenue=_money(_part(body, "developerRevenueInBuyerCurrency")),
        returned=_returned(body, cast("OrderState", state), total),
    )


def _returned(body: Mapping[str, Any], state: OrderState, total: GoogleMoney) -> Decimal:
    if state in ("CANCELED", "PENDING_REFUND", "REFUNDED"):
        return total.amount
    events: Any = _part(body, "orderHistory").get("partialRefundEvents") or ()
    parts = (
        _money(_part(_part(event, "refundDetails"), "total"))
        for event in cast("list[dict[str, Any]]", events)
        if event.get("state") == "PROCESSED_SUCCESSFULLY"
    )
    return min(total.amount, sum((part.amount for part in parts if part), Decimal(0)))


def _money(body: Mapping[str, Any]) -> GoogleMoney | None:
    """Parses an amount: Google omits zeros. None without a currency."""
    if not body.get("currencyCode"):
        return None
    amount = Decimal(body.get("units") or 0) + Decimal(body.get("nanos") or 0) / 10**9
    return GoogleMoney(amount, str(body["currencyCode"]))


_REASONS = (
    "userInitiatedCancellation",
    "systemInitiatedCancellation",
    "replacementCancellation",
    "developerInitiatedCancellation",
)
"""In the order of the older `cancelReason`."""


def _cancellation(context: Mapping[str, Any]) -> tuple[int | None, datetime | None]:
    for number, reason in enumerate(_REASONS):
        if context.get(reason) is not None:
            return number, _time(_part(context, reason).get("cancelTime"))
    return None, None


def _part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A nested object; empty where it is null or absent."""
    part: object = body.get(name)
    if part is None:
        return dict[str, Any]()
    if not isinstance(part, dict):
        raise TypeError("not an object")
    return cast("dict[str, Any]", part)


def _time(text: str | None) -> datetime | None:
    """Parses RFC 3339 with up to nine fractional digits, of which six are used."""
    if not text:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a time zone")
    return time.astimezone(UTC)


def _milliseconds(time: datetime | None) -> str | None:
    return str(int(time.timestamp() * 1000)) if time is not None else None
