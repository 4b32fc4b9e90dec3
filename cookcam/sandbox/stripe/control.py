"""What is not Stripe's: the sandbox's own paths, and many objects at once.

`POST /_sandbox/<what>` with a JSON object of the arguments of the method of the stand-in; see
docs/sandbox.md. They exist for a stand-in in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import orjson
from cattrs import Converter
from cattrs.errors import BaseValidationError

from cookcam.sandbox.stripe import shapes
from cookcam.sandbox.stripe.api import Api
from cookcam.sandbox.stripe.behaviour import Behaviour
from cookcam.sandbox.stripe.faults import ApiFault, invalid
from cookcam.sandbox.stripe.post import Endpoint
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.subscriptions import Subscription

if TYPE_CHECKING:
    from cookcam.sandbox.stripe.server import FakeStripe

DEEDS = (
    "advance",
    "advance_to",
    "pay",
    "settle",
    "confirm",
    "cancel_at",
    "reshape",
    "set_card",
    "pay_invoice",
    "refund",
    "dispute",
    "close_dispute",
    "onboard",
    "deauthorize",
    "reverse",
    "pay_out",
    "replay",
    "release",
)
"""Methods of the stand-in that are paths as well."""


def answer(fake: FakeStripe, method: str, path: str, body: bytes) -> object:
    """Raises ApiFault."""
    what = path.removeprefix("/_sandbox/")
    try:
        given = cast("Body", orjson.loads(body)) if body else {}
    except orjson.JSONDecodeError:
        raise invalid("not JSON") from None
    match method, what:
        case "GET", "events":
            return fake.events
        case "GET", "attempts":
            return [_told(attempt) for attempt in fake.post.attempts]
        case "GET", "clock":
            return {"now": fake.now}
        case "POST", "clock":
            seconds = given.get("advance")
            if seconds is None:
                fake.advance_to(int(given["to"]))
            else:
                fake.advance(seconds)
            return {"now": fake.now}
        case "PUT", "behaviour":
            return _behave(fake.behaviour, given)
        case "PUT", "endpoints":
            endpoints = Converter().structure(given["endpoints"], list[Endpoint])
            fake.post.endpoints[:] = endpoints
            return {"endpoints": len(endpoints)}
        case "POST", "stock":
            return {"ids": fake.stock(**given)}
        case "POST", deed if deed in DEEDS:
            try:
                return getattr(fake, deed)(**given)
            except TypeError as error:
                raise invalid(str(error)) from None
        case _:
            raise ApiFault(404, "invalid_request_error", f"No such path: {method} {path}")


def _told(attempt: Any) -> Body:
    return cast("Body", Converter().unstructure(attempt))


def _behave(behaviour: Behaviour, wanted: Body) -> Body:
    """Replaces the named settings, inner ones too, and tells all of them."""
    converter = Converter(forbid_extra_keys=True)
    known = cast("Body", converter.unstructure(behaviour))
    for name in ("mail", "billing"):
        wanted[name] = {**known[name], **wanted.get(name, {})}
    try:
        changed = converter.structure({**known, **wanted}, Behaviour)
    except (BaseValidationError, TypeError):
        raise invalid("not a behaviour of the stand-in") from None
    for part, new in ((behaviour.mail, changed.mail), (behaviour.billing, changed.billing)):
        for name in cast("Body", converter.unstructure(new)):
            setattr(part, name, getattr(new, name))
    behaviour.delay, behaviour.fault = changed.delay, changed.fault
    behaviour.balance_cents = changed.balance_cents
    return cast("Body", converter.unstructure(behaviour))


def stock(
    api: Api,
    count: int,
    metadata: Callable[[int], Mapping[str, str]],
    status: str,
    amount: int,
    interval: str,
    *,
    events: bool,
) -> list[str]:
    """Subscriptions without the history of how they came about; gives their ids."""
    store, now = api.store, api.store.now
    product = shapes.product(store.new_id("product"), now, "CookCam Subscription", {})
    api.books.keep(product)
    price = shapes.price(store.new_id("price"), now, product["id"], amount, "usd", interval)
    api.books.keep(price)
    begun = now - (shapes.after(now, interval, now) - now) // 2
    ids: list[str] = []
    for number in range(count):
        known = Subscription(
            id=store.new_id("subscription"),
            customer=store.new_id("customer"),
            item=store.new_id("subscription_item"),
            price=price["id"],
            status=status,
            created=begun,
            item_created=begun,
            anchor=begun,
            period_start=begun,
            period_end=shapes.after(begun, interval, begun),
            metadata=dict(metadata(number)),
        )
        api.books.keep_subscription(known)
        api.billing.watch(known)
        ids.append(known.id)
        if events:
            api.books.emit_subscription("created", known)
    return ids
