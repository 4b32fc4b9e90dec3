"""Subscriptions at Stripe: reading, changing and ending them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import quote

from cookcam.integrations.stripe.asking import PAGE, Asking, Send, given, page
from cookcam.integrations.stripe.billing import Interval, Subscription, product_name
from cookcam.integrations.stripe.errors import NoSuchObject, StripeRejected
from cookcam.integrations.stripe.reading import MalformedObject, Object, Page


class Subscriptions(Asking):
    """Part of `Stripe`."""

    async def retrieve_subscription(self, subscription_id: str) -> Subscription:
        """A subscription as it is now, an ended one too."""
        answer = await self._ask(
            _reading(f"/v1/subscriptions/{quote(subscription_id, safe='')}", {})
        )
        return Subscription.of(answer.document, answer.as_of)

    async def list_subscriptions(
        self,
        *,
        customer_id: str | None = None,
        starting_after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Subscription]:
        """A page of the subscriptions of all states, of one customer or of all."""
        params = given(status="all", limit=limit, customer=customer_id)
        params |= given(starting_after=starting_after)
        answer = await self._ask(_reading("/v1/subscriptions", params))
        return page(answer, lambda document: Subscription.of(document, answer.as_of))

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
        """Moves an item of a subscription to another price; `metadata.tier_id` follows.

        "now" charges the difference for the rest of the period at once, and takes back a pending
        cancellation or change. "period_end" leaves it as it is until then: the answer has the old
        price and a `schedule_id`, and Stripe tells `customer.subscription.updated` when the time
        comes. Raises CardDeclined (402), and then the price is the old one.

        Several requests, at most five, each with a key made of `idempotency_key`: asked again
        with the same one, it goes on where it stopped.
        """
        with self._in_time():
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
                **_going_on(subscription),
            )

    async def set_cancel_at_period_end(
        self, subscription_id: str, cancel: bool, *, idempotency_key: str
    ) -> Subscription:
        """Lets a subscription end with its period, or go on after all.

        A change that was pending for the end of the period is dropped. Up to three requests.
        """
        with self._in_time():
            subscription = await self.retrieve_subscription(subscription_id)
            await self._drop_schedule(subscription, idempotency_key)
            change = {"cancel_at_period_end": True} if cancel else _going_on(subscription)
            return await self._update_subscription(subscription_id, idempotency_key, **change)

    async def cancel_subscription_now(self, subscription_id: str) -> Subscription:
        """Ends a subscription, without giving money back; one that has ended is no error.

        Stripe needs no idempotency key for that.
        """
        try:
            answer = await self._ask(
                lambda client, options: client.v1.subscriptions.cancel_async(
                    subscription_id, None, options
                )
            )
        except NoSuchObject:
            ended = await self.retrieve_subscription(subscription_id)
            if not ended.is_over:
                raise
            return ended
        return Subscription.of(answer.document, answer.as_of)

    async def _update_subscription(
        self, subscription_id: str, key: str, **changes: Any
    ) -> Subscription:
        params: Any = changes
        answer = await self._ask(
            lambda client, options: client.v1.subscriptions.update_async(
                subscription_id, params, options
            ),
            key,
        )
        return Subscription.of(answer.document, answer.as_of)

    async def _product(self, tier_id: int, tier_name: str, key: str) -> str:
        """The product of a tier, made if need be: a price that changes cannot bring its own."""
        product_id = f"cookcam_tier_{tier_id}"
        params: Any = {
            "id": product_id,
            "name": product_name(tier_name),
            "metadata": {"tier_id": str(tier_id)},
        }
        try:
            await self._ask(
                lambda client, options: client.v1.products.create_async(params, options),
                f"{key}:product",
            )
        except StripeRejected as refused:
            if refused.stripe_code != "resource_already_exists":
                raise
        return product_id

    async def _schedule(
        self, subscription: Subscription, item_id: str, price: Object, metadata: Object, key: str
    ) -> None:
        """Lets the present prices run to the end of the period, and `price` follow on the item."""
        if subscription.schedule_id is not None:
            known = subscription.schedule_id
            answer = await self._ask(
                lambda client, options: client.v1.subscription_schedules.retrieve_async(
                    known, None, options
                )
            )
        else:
            made_from: Any = {"from_subscription": subscription.id}
            answer = await self._ask(
                lambda client, options: client.v1.subscription_schedules.create_async(
                    made_from, options
                ),
                f"{key}:schedule",
            )
        try:
            schedule_id, phase = str(answer.document["id"]), answer.document["current_phase"]
            start, end = phase["start_date"], phase["end_date"]
        except (KeyError, TypeError):
            raise MalformedObject from None
        present = [{"price": item.price.id, "quantity": 1} for item in subscription.items]
        following = [
            {"price_data": price, "quantity": 1}
            if item.id == item_id
            else {"price": item.price.id, "quantity": 1}
            for item in subscription.items
        ]
        params: Any = {
            "end_behavior": "release",
            "proration_behavior": "none",
            "phases": [
                {"items": present, "start_date": start, "end_date": end},
                {
                    "items": following,
                    "iterations": 1,
                    "metadata": metadata,
                    "proration_behavior": "none",
                },
            ],
        }
        await self._ask(
            lambda client, options: client.v1.subscription_schedules.update_async(
                schedule_id, params, options
            ),
            f"{key}:phases",
        )

    async def _drop_schedule(self, subscription: Subscription, key: str) -> None:
        schedule_id = subscription.schedule_id
        if schedule_id is not None:
            await self._ask(
                lambda client, options: client.v1.subscription_schedules.release_async(
                    schedule_id, None, options
                ),
                f"{key}:release",
            )


def _going_on(subscription: Subscription) -> dict[str, Any]:
    """The parameters that take back a cancellation. Stripe takes only one of the two."""
    if subscription.cancel_at is not None and not subscription.cancel_at_period_end:
        return {"cancel_at": ""}
    return {"cancel_at_period_end": False}


def _reading(path: str, params: Mapping[str, Any]) -> Send:
    """A request as the library sends it, its answer as text.

    Making objects of the library takes longer than the rest: of a hundred thousand subscriptions in
    reconciliation, and of the one that a webhook waits for.
    """
    return lambda client, options: cast("Any", client).raw_request_async(
        "get", path, **params, **options
    )
