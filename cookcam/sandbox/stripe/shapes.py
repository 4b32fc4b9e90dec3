"""Objects as Stripe shows them in version 2025-05-28.basil; times are simulated seconds.

Of the fields of the reference, those that its library or a reader of events relies on.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from cookcam.sandbox.stripe.subscriptions import Subscription

Body: TypeAlias = dict[str, Any]

API_VERSION: Final = "2025-05-28.basil"

ONBOARDING: Final = ["external_account", "individual.dob.day", "tos_acceptance.date"]
"""What Stripe asks a new connected account for."""


def customer(object_id: str, now: int, email: str | None, metadata: dict[str, str]) -> Body:
    return {
        "id": object_id,
        "object": "customer",
        "created": now,
        "email": email,
        "name": None,
        "balance": 0,
        "currency": None,
        "delinquent": False,
        "invoice_settings": {"default_payment_method": None},
        "livemode": False,
        "metadata": metadata,
    }


def product(object_id: str, now: int, name: str, metadata: dict[str, str]) -> Body:
    return {
        "id": object_id,
        "object": "product",
        "active": True,
        "created": now,
        "updated": now,
        "livemode": False,
        "name": name,
        "metadata": metadata,
    }


def price(
    object_id: str, now: int, product_id: str, amount: int, currency: str, interval: str | None
) -> Body:
    recurring = {"interval": interval, "interval_count": 1, "usage_type": "licensed"}
    return {
        "id": object_id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": currency,
        "livemode": False,
        "metadata": {},
        "product": product_id,
        "recurring": recurring if interval else None,
        "type": "recurring" if interval else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def subscription(known: Subscription, its_price: Body) -> Body:
    item = {
        "id": known.item,
        "object": "subscription_item",
        "created": known.item_created,
        "current_period_start": known.period_start,
        "current_period_end": known.period_end,
        "metadata": {},
        "price": its_price,
        "quantity": 1,
        "subscription": known.id,
    }
    return {
        "id": known.id,
        "object": "subscription",
        "billing_cycle_anchor": known.anchor,
        "cancel_at": known.period_end if known.cancel_at_period_end else known.cancel_at,
        "cancel_at_period_end": known.cancel_at_period_end,
        "canceled_at": known.canceled_at,
        "collection_method": "charge_automatically",
        "created": known.created,
        "currency": its_price["currency"],
        "customer": known.customer,
        "ended_at": known.ended_at,
        "items": {
            "object": "list",
            "data": [item],
            "has_more": False,
            "total_count": 1,
            "url": f"/v1/subscription_items?subscription={known.id}",
        },
        "latest_invoice": known.latest_invoice,
        "livemode": False,
        "metadata": known.metadata,
        "schedule": known.schedule,
        "start_date": known.created,
        "status": known.status,
        "trial_end": known.trial_end,
        "trial_start": known.trial_start,
        **known.reshaped,
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
    object_id: str, now: int, reason: str, known: Subscription, currency: str, lines: list[Body]
) -> Body:
    total = max(0, sum(line["amount"] for line in lines))
    return {
        "id": object_id,
        "object": "invoice",
        "amount_due": total,
        "amount_paid": 0,
        "amount_remaining": total,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": currency,
        "customer": known.customer,
        "lines": {
            "object": "list",
            "data": lines,
            "has_more": False,
            "total_count": len(lines),
            "url": f"/v1/invoices/{object_id}/lines",
        },
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "parent": {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {"subscription": known.id, "metadata": dict(known.metadata)},
        },
        # Of the period before, as the reference says; that of what is paid for is in the lines.
        "period_start": known.period_start,
        "period_end": now,
        "status": "draft",
        "subtotal": total,
        "total": total,
        "total_excluding_tax": total,
        "total_taxes": [],
    }


def payment_intent(
    object_id: str, now: int, amount: int, currency: str, customer_id: str | None, form: Body
) -> Body:
    return {
        "id": object_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_received": 0,
        "client_secret": f"{object_id}_secret_{object_id[-8:]}",
        "created": now,
        "currency": currency,
        "customer": customer_id,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": form.get("metadata") or {},
        "status": "requires_payment_method",
        "transfer_group": form.get("transfer_group"),
    }


def charge(object_id: str, now: int, intent: Body, failure: Body | None) -> Body:
    return {
        "id": object_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0 if failure else intent["amount"],
        "amount_refunded": 0,
        "captured": failure is None,
        "created": now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "disputed": False,
        "failure_code": failure["code"] if failure else None,
        "failure_message": failure["message"] if failure else None,
        "livemode": False,
        "metadata": intent["metadata"],
        "paid": failure is None,
        "payment_intent": intent["id"],
        "refunded": False,
        "status": "failed" if failure else "succeeded",
    }


def refund(object_id: str, now: int, its_charge: Body, amount: int, form: Body) -> Body:
    return {
        "id": object_id,
        "object": "refund",
        "amount": amount,
        "charge": its_charge["id"],
        "created": now,
        "currency": its_charge["currency"],
        "metadata": form.get("metadata") or {},
        "payment_intent": its_charge["payment_intent"],
        "reason": form.get("reason"),
        "status": "succeeded",
    }


def dispute(object_id: str, now: int, its_charge: Body, reason: str) -> Body:
    return {
        "id": object_id,
        "object": "dispute",
        "amount": its_charge["amount"],
        "charge": its_charge["id"],
        "created": now,
        "currency": its_charge["currency"],
        "evidence_details": {"due_by": now + 7 * 86_400, "has_evidence": False},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": its_charge["payment_intent"],
        "reason": reason,
        "status": "needs_response",
    }


def account(object_id: str, now: int, form: Body, wanted: list[str]) -> Body:
    return {
        "id": object_id,
        "object": "account",
        "business_type": form.get("business_type"),
        "capabilities": dict.fromkeys(wanted, "inactive"),
        "charges_enabled": False,
        "country": form.get("country", "US"),
        "created": now,
        "default_currency": "usd",
        "details_submitted": False,
        "email": form.get("email"),
        "metadata": form.get("metadata") or {},
        "payouts_enabled": False,
        "requirements": {
            "currently_due": list(ONBOARDING),
            "eventually_due": list(ONBOARDING),
            "past_due": [],
            "disabled_reason": "requirements.past_due",
        },
        "type": form.get("type", "standard"),
    }


def transfer(object_id: str, now: int, amount: int, form: Body) -> Body:
    return {
        "id": object_id,
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "created": now,
        "currency": form.get("currency", "usd"),
        "destination": form["destination"],
        "livemode": False,
        "metadata": form.get("metadata") or {},
        "reversals": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/transfers/{object_id}/reversals",
        },
        "reversed": False,
        "transfer_group": form.get("transfer_group"),
    }


def payout(object_id: str, now: int, amount: int, failed: bool) -> Body:
    return {
        "id": object_id,
        "object": "payout",
        "amount": amount,
        "arrival_date": now,
        "automatic": True,
        "created": now,
        "currency": "usd",
        "destination": f"ba_{object_id[3:]}",
        "failure_code": "account_closed" if failed else None,
        "failure_message": "The bank account has been closed." if failed else None,
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "status": "pending",
        "type": "bank_account",
    }


def after(start: int, interval: str, anchor: int) -> int:
    """One month or year later, on the anchor's day of the month where there is one."""
    from_, day = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor, UTC).day
    months = from_.year * 12 + from_.month - 1 + (12 if interval == "year" else 1)
    year, month = months // 12, months % 12 + 1
    there = from_.replace(year=year, month=month, day=min(day, monthrange(year, month)[1]))
    return int(there.timestamp())
