"""The stored objects and their events, shared by billing and connected accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import orjson
from attrs import define

from cookcam.sandbox.stripe import shapes
from cookcam.sandbox.stripe.behaviour import Behaviour, Card
from cookcam.sandbox.stripe.faults import declined
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.store import Store
from cookcam.sandbox.stripe.subscriptions import Subscription


@define(eq=False)
class StripeState:
    """`post` is called with each new event."""

    store: Store
    behaviour: Behaviour
    post: Callable[[Body], None]

    def emit(
        self, kind: str, body: Body, previous: Body | None = None, account: str | None = None
    ) -> Body:
        """Records an event about a copy of the object as it is now."""
        data: Body = {"object": _copy(body)}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Body = {
            "id": self.store.new_id("event"),
            "object": "event",
            "api_version": shapes.API_VERSION,
            "created": self.store.now,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        if account is not None:
            event["account"] = account
        self.store.put("event", event["id"], event)
        self.post(event)
        return event

    def create(self, kind: str, object_id: str | None = None, **fields: Any) -> Body:
        """Add an object with these fields and the constant ones of its kind."""
        new_id = object_id or self.store.new_id(kind)
        return self.save(shapes.new_object(kind, new_id, self.store.now, **fields))

    def create_product(
        self, name: str, metadata: dict[str, str], object_id: str | None = None
    ) -> Body:
        now = self.store.now
        return self.create("product", object_id, updated=now, name=name, metadata=metadata)

    def create_price(
        self, product_id: str, amount: int, currency: str, interval: str | None
    ) -> Body:
        return self.create("price", **shapes.price(product_id, amount, currency, interval))

    def save(self, body: Body) -> Body:
        """Add an object, or mark it as changed."""
        self.store.put(body["object"], body["id"], body)
        return body

    def save_subscription(self, subscription: Subscription) -> None:
        self.store.put("subscription", subscription.id, subscription)

    def subscription(self, subscription_id: str) -> Subscription:
        return cast("Subscription", self.store.get("subscription", subscription_id))

    def shown(self, subscription: Subscription) -> Body:
        return shapes.subscription(subscription, self.store.get("price", subscription.price))

    def wire(self, value: Any) -> Body:
        """A stored object as the API shows it."""
        return self.shown(value) if isinstance(value, Subscription) else cast("Body", value)

    def emit_subscription(self, kind: str, subscription: Subscription) -> None:
        self.emit(f"customer.subscription.{kind}", self.shown(subscription))

    def emit_update(self, subscription: Subscription, before: Body) -> None:
        """Save an object, and send an update event with the differences from `before`, if any."""
        self.save_subscription(subscription)
        now = self.shown(subscription)
        previous = {name: value for name, value in before.items() if now[name] != value}
        if previous:
            self.emit("customer.subscription.updated", now, previous)

    def card_of(self, customer: str | None) -> Card:
        subscription = self.store.find("card", customer)
        return cast("Card", subscription["card"]) if subscription else "success"

    def set_card(self, customer: str, card: Card) -> None:
        self.store.put("card", customer, {"card": card})

    def charge(self, intent: Body, card: Card) -> bool:
        """Charge a payment intent and emit the events."""
        failure: Body | None = None
        if card != "success":
            failure = cast("Body", declined(card).body["error"])
        charge = self.create(
            "charge",
            **{name: intent[name] for name in ("amount", "currency", "customer", "metadata")},
            amount_captured=0 if failure else intent["amount"],
            captured=failure is None,
            failure_code=failure["code"] if failure else None,
            failure_message=failure["message"] if failure else None,
            paid=failure is None,
            payment_intent=intent["id"],
            status="failed" if failure else "succeeded",
        )
        intent["latest_charge"] = charge["id"]
        if failure is not None:
            intent |= {"status": "requires_payment_method", "last_payment_error": failure}
            self.save(intent)
            self.emit("charge.failed", charge)
            self.emit("payment_intent.payment_failed", intent)
            return False
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
        }
        self.save(intent)
        self.emit("charge.succeeded", charge)
        self.emit("payment_intent.succeeded", intent)
        return True

    def create_intent(
        self,
        amount: int,
        currency: str,
        customer: str | None,
        metadata: dict[str, str] | None = None,
        transfer_group: str | None = None,
    ) -> Body:
        intent_id = self.store.new_id("payment_intent")
        intent = self.create(
            "payment_intent",
            intent_id,
            amount=amount,
            client_secret=f"{intent_id}_secret_{intent_id[-8:]}",
            currency=currency,
            customer=customer,
            metadata=metadata or {},
            transfer_group=transfer_group,
        )
        self.emit("payment_intent.created", intent)
        return intent


def _copy(body: Body) -> Body:
    return cast("Body", orjson.loads(orjson.dumps(body)))
