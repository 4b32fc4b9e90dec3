"""Reads, changes and cancels subscriptions at Stripe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import quote

from cookcam.integrations.stripe.billing import Interval, Subscription, product_name
from cookcam.integrations.stripe.errors import NoSuchObject, StripeRejected
from cookcam.integrations.stripe.reading import MalformedObject, Object, Page
from cookcam.integrations.stripe.requests import (
    MAX_PAGE,
    Send,
    StripeRequests,
    parse_page,
    without_none,
)


class Subscriptions(StripeRequests):
    """Part of `Stripe`."""

    async def retrieve_subscription(self, subscription_id: str) -> Subscription:
        """The current state of a subscription, also of one that has ended."""
        response = await self._request(
            _raw_get(f"/v1/subscriptions/{quote(subscription_id, safe='')}", {})
        )
        return Subscription.of(response.document, response.as_of)

    async def list_subscriptions(
        self,
        *,
        customer_id: str | None = None,
        starting_after: str | None = None,
        limit: int = MAX_PAGE,
    ) -> Page[Subscription]:
        """A page of the subscriptions in every status, of one customer if given."""
        params = without_none(status="all", limit=limit, customer=customer_id)
        params |= without_none(starting_after=starting_after)
        response = await self._request(_raw_get("/v1/subscriptions", params))
        return parse_page(response, lambda document: Subscription.of(document, response.as_of))

    async def change_subscription(
        self,
        subscription_id: str,
        item_id: str,
        *,
        tier_id: int,
        tier_name: str,
        amount_cents: int,
        interval: Interval,
        when: Literal["now", "period_end"],
        idempotency_key: str,
        currency: str = "usd",
    ) -> Subscription:
        """Changes the price of an item, and `metadata.tier_id` with it.

        "now" charges the difference for the rest of the period at once, and removes a pending
        cancellation or change. "period_end" schedules the change: the result has the old price and
        a `schedule_id`, and Stripe sends `customer.subscription.updated` at the end of the period.
        Raises CardDeclined (402), and then the price is unchanged.

        Sends up to five requests, each with a key derived from `idempotency_key`, so that a
        repetition with the same key continues where the first call stopped.
        """
        with self._deadline():
            product_id = await self._product(tier_id, tier_name, idempotency_key)
            subscription = await self.retrieve_subscription(subscription_id)
            price = {
                "currency": currency,
                "product": product_id,
                "unit_amount": amount_cents,
                "recurring": {"interval": interval},
            }
            metadata = {"tier_id": str(tier_id)}
            if when == "period_end":
                await self._schedule(subscription, item_id, price, metadata, idempotency_key)
                return await self.retrieve_subscription(subscription_id)
            await self._drop_schedule(subscription, idempotency_key)
            return await self._update_subscription(
                subscription_id,
                idempotency_key,
                items=[{"id": item_id, "price_data": price}],
                proration_behavior="always_invoice",
                payment_behavior="error_if_incomplete",
                metadata=metadata,
                **_resume_params(subscription),
            )

    async def set_cancel_at_period_end(
        self, subscription_id: str, cancel: bool, *, idempotency_key: str
    ) -> Subscription:
        """Cancels a subscription at the end of its period, or resumes it.

        Drops a change that is scheduled for the end of the period. Sends up to three requests.
        """
        with self._deadline():
            subscription = await self.retrieve_subscription(subscription_id)
            await self._drop_schedule(subscription, idempotency_key)
            change = {"cancel_at_period_end": True} if cancel else _resume_params(subscription)
            return await self._update_subscription(subscription_id, idempotency_key, **change)

    async def cancel_subscription_now(self, subscription_id: str) -> Subscription:
        """Cancels a subscription at once, without a refund. Idempotent, also without a key."""
        try:
            response = await self._call("subscriptions.cancel", subscription_id, None)
        except NoSuchObject:
            ended = await self.retrieve_subscription(subscription_id)
            if not ended.is_over:
                raise
            return ended
        return Subscription.of(response.document, response.as_of)

    async def _update_subscription(
        self, subscription_id: str, key: str, **changes: Any
    ) -> Subscription:
        params: Any = changes
        response = await self._call("subscriptions.update", subscription_id, params, key=key)
        return Subscription.of(response.document, response.as_of)

    async def _product(self, tier_id: int, tier_name: str, key: str) -> str:
        """Creates the product of a tier if missing: a changed price cannot contain its own."""
        product_id = f"cookcam_tier_{tier_id}"
        params: Any = {
            "id": product_id,
            "name": product_name(tier_name),
            "metadata": {"tier_id": str(tier_id)},
        }
        try:
            await self._call("products.create", params, key=f"{key}:product")
        except StripeRejected as rejection:
            if rejection.stripe_code != "resource_already_exists":
                raise
        return product_id

    async def _schedule(
        self, subscription: Subscription, item_id: str, price: Object, metadata: Object, key: str
    ) -> None:
        """Keeps the current prices until the end of the period; the item has `price` after it."""
        if subscription.schedule_id is not None:
            existing_id = subscription.schedule_id
            response = await self._call("subscription_schedules.retrieve", existing_id, None)
        else:
            source: Any = {"from_subscription": subscription.id}
            response = await self._call(
                "subscription_schedules.create", source, key=f"{key}:schedule"
            )
        try:
            schedule_id, phase = str(response.document["id"]), response.document["current_phase"]
            start, end = phase["start_date"], phase["end_date"]
        except (KeyError, TypeError):
            raise MalformedObject from None
        current_items = [{"price": item.price.id, "quantity": 1} for item in subscription.items]
        next_items = [
            {"price_data": price, "quantity": 1}
            if item.id == item_id
            else {"price": item.price.id, "quantity": 1}
            for item in subscription.items
        ]
        params: Any = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {"items": current_items, "start_date": start, "end_date": end},
                {
                    "items": next_items,
                    "iterations": 1,
                    "metadata": metadata,
                    "proration_behavior": "none",
                },
            ],
        }
        await self._call("subscription_schedules.update", schedule_id, params, key=f"{key}:phases")

    async def _drop_schedule(self, subscription: Subscription, key: str) -> None:
        schedule_id = subscription.schedule_id
        if schedule_id is not None:
            await self._call(
                "subscription_schedules.release", schedule_id, None, key=f"{key}:release"
            )


def _resume_params(subscription: Subscription) -> dict[str, Any]:
    """The parameters that undo a cancellation. Stripe accepts only one of the two."""
    if subscription.cancel_at is not None and not subscription.cancel_at_period_end:
        return {"cancel_at": ""}
    return {"cancel_at_period_end": False}


def _raw_get(path: str, params: Mapping[str, Any]) -> Send:
    """A GET request without the library's response objects.

    Creating those takes longer than the rest of the request, which matters in reconciliation
    (100,000 subscriptions) and in webhooks.
    """
    return lambda client, options: cast("Any", client).raw_request_async(
        "get", path, **params, **options
    )
