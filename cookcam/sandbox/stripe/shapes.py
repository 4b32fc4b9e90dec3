"""Objects as Stripe shows them in version 2025-05-28.basil; times are simulated seconds.

They have the fields of the API reference that Stripe's library or the server needs. `objects.json`
has the constant fields of new objects of each kind.
"""

from __future__ import annotations

from calendar import monthrange
from copy import deepcopy
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final, TypeAlias

import orjson

from cookcam.sandbox.stripe.subscriptions import Subscription

Body: TypeAlias = dict[str, Any]

API_VERSION: Final = "2025-05-28.basil"

_TEMPLATES: dict[str, Body] = orjson.loads(
    files("cookcam.sandbox.stripe").joinpath("objects.json").read_bytes()
)


def new_object(kind: str, object_id: str, now: int, **fields: Any) -> Body:
    head = {"id": object_id, "object": kind, "created": now}
    return {**head, **deepcopy(_TEMPLATES[kind]), **fields}


def price(product_id: str, amount: int, currency: str, interval: str | None) -> Body:
    """The fields of a price; without an interval it is paid once."""
    recurring = {"interval": interval, "interval_count": 1, "usage_type": "licensed"}
    return {
        "currency": currency,
        "product": product_id,
        "recurring": recurring if interval else None,
        "type": "recurring" if interval else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def list_of(data: list[Body], url: str) -> Body:
    return {"object": "list", "data": data, "has_more": False, "url": url}


def subscription(subscription: Subscription, its_price: Body) -> Body:
    item = {
        "id": subscription.item,
        "object": "subscription_item",
        "created": subscription.item_created,
        "current_period_start": subscription.period_start,
        "current_period_end": subscription.period_end,
        "metadata": {},
        "price": its_price,
        "quantity": 1,
        "subscription": subscription.id,
    }
    return {
        "id": subscription.id,
        "object": "subscription",
        "billing_cycle_anchor": subscription.anchor,
        "cancel_at": subscription.period_end
        if subscription.cancel_at_period_end
        else subscription.cancel_at,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
        "collection_method": "charge_automatically",
        "created": subscription.created,
        "currency": its_price["currency"],
        "customer": subscription.customer,
        "ended_at": subscription.ended_at,
        "items": {
            "object": "list",
            "data": [item],
            "has_more": False,
            "total_count": 1,
            "url": f"/v1/subscription_items?subscription={subscription.id}",
        },
        "latest_invoice": subscription.latest_invoice,
        "livemode": False,
        "metadata": subscription.metadata,
        "schedule": subscription.schedule,
        "start_date": subscription.created,
        "status": subscription.status,
        "trial_end": subscription.trial_end,
        "trial_start": subscription.trial_start,
        **subscription.reshaped,
    }


def invoice_line(
    object_id: str, its_price: Body, amount: int, start: int, end: int, item: str, proration: bool
) -> Body:
    return {
        "id": object_id,
        "object": "line_item",
        "amount": amount,
        "currency": its_price["currency"],
        "period": {"start": start, "end": end},
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {"proration": proration, "subscription_item": item},
        },
        "pricing": {
            "type": "price_details",
            "price_details": {"price": its_price["id"], "product": its_price["product"]},
        },
        "quantity": 1,
    }


def invoice(
    object_id: str, subscription: Subscription, reason: str, currency: str, lines: list[Body]
) -> Body:
    """The fields of an invoice for `lines`."""
    total = max(0, sum(line["amount"] for line in lines))
    details = {"subscription": subscription.id, "metadata": dict(subscription.metadata)}
    return {
        **dict.fromkeys(
            ("amount_due", "amount_remaining", "subtotal", "total", "total_excluding_tax"), total
        ),
        "billing_reason": reason,
        "currency": currency,
        "customer": subscription.customer,
        "lines": {**list_of(lines, f"/v1/invoices/{object_id}/lines"), "total_count": len(lines)},
        "parent": {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": details,
        },
        # The previous period, as the reference says; the period that is paid for is in the lines.
        "period_start": subscription.period_start,
    }


def after(start: int, interval: str, anchor: int) -> int:
    """One month or year later, on the anchor's day of the month if the month has it."""
    from_, day = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor, UTC).day
    months = from_.year * 12 + from_.month - 1 + (12 if interval == "year" else 1)
    year, month = months // 12, months % 12 + 1
    there = from_.replace(year=year, month=month, day=min(day, monthrange(year, month)[1]))
    return int(there.timestamp())
