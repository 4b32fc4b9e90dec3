"""What `purchases.subscriptionsv2` tells. Source: Google's reference of that resource, and
`spec/payments-and-gamification.md` §7.5 for the older fields kept for audits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
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


@frozen
class GoogleSubscription:
    """One subscription as of `as_of`, the moment before Google was asked.

    `expires_at` is None of one that is still to be paid. `account_token` is the id our app gave
    with the purchase.
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
    )


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
