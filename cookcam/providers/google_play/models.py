"""What `purchases.subscriptionsv2` and `orders` tell. Source: Google's reference of these
resources, and `spec/payments-and-gamification.md` §7.5 for the older fields kept for audits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
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
    """One payment. `revenue` is what is ours of it: without taxes, Google's fee and what was given
    back of it; None where Google does not tell. `returned` is what the buyer got back of `total`.
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
    """One subscription as of `as_of`, the moment before Google was asked.

    `expires_at` is None of one that is still to be paid. `account_token` is the id our app gave
    with the purchase. `recurring_price` is what a renewal costs, where taxes come on top without
    them; a `discounted` period costs something else.
    """

    token: str = field(repr=False)
    product_id: str
    state: State
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
        """The fields of the older resource, by their names there."""
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
    """Of several items it is the one for a `known` product that ends last.

    Raises KeyError, TypeError, ValueError or AttributeError for another shape.
    """
    state = str(body["subscriptionState"]).removeprefix(PREFIX)
    if state not in get_args(State):
        raise ValueError(state)
    items = cast("list[dict[str, Any]]", body["lineItems"])
    item = max(items, key=lambda item: (known(item["productId"]), item.get("expiryTime", "")))
    cancel_reason, cancelled_at = _cancellation(_part(body, "canceledStateContext"))
    return GoogleSubscription(
        token=token,
        product_id=item["productId"],
        state=cast("State", state),
        as_of=as_of,
        started_at=_time(body.get("startTime")),
        expires_at=_time(item.get("expiryTime")),
        order_id=item.get("latestSuccessfulOrderId") or body.get("latestOrderId"),
        renews=bool(_part(item, "autoRenewingPlan").get("autoRenewEnabled")),
        trial="freeTrial" in _part(item, "offerPhase"),
        test="testPurchase" in body,
        acknowledged=body.get("acknowledgementState") == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED",
        cancelled_at=cancelled_at,
        cancel_reason=cancel_reason,
        linked_token=body.get("linkedPurchaseToken"),
        account_token=_part(body, "externalAccountIdentifiers").get("obfuscatedExternalAccountId"),
        country=body.get("regionCode"),
        recurring_price=_money(_part(_part(item, "autoRenewingPlan"), "recurringPrice")),
        discounted=bool(_DISCOUNTED & _part(item, "offerPhase").keys()),
    )


_DISCOUNTED = frozenset({"introductoryPrice", "prorationPeriod"})
"""Phases of an offer that cost neither nothing nor the full price."""


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
    """Google leaves out what is zero; without a currency it is no money."""
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
        if reason in context:
            return number, _time(_part(context, reason).get("cancelTime"))
    return None, None


def _part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object inside another; left out, or null, it is empty."""
    return body.get(name) or dict[str, Any]()


def _time(text: str | None) -> datetime | None:
    """RFC 3339 with up to nine digits of a second, of which six are kept."""
    if not text:
        return None
    whole, _, rest = text.partition(".")
    if not rest:
        return datetime.fromisoformat(text)
    digits = rest.rstrip("Zz")
    return datetime.fromisoformat(f"{whole}.{digits[:6]:0<6}+00:00")


def _milliseconds(time: datetime | None) -> str | None:
    return str(int(time.timestamp() * 1000)) if time is not None else None
