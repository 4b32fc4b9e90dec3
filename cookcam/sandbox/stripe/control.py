"""The sandbox's own paths, which Stripe does not have.

`POST /_sandbox/<what>` with a JSON object of the arguments of the fake's method; see
docs/sandbox.md. They are for a fake in a separate process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import orjson
from attrs import asdict
from cattrs import Converter

from cookcam.sandbox.serving import replace_settings
from cookcam.sandbox.stripe.faults import ApiFault, invalid
from cookcam.sandbox.stripe.outbox import Endpoint
from cookcam.sandbox.stripe.shapes import Body

if TYPE_CHECKING:
    from cookcam.sandbox.stripe.server import FakeStripe

COMMANDS = (
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
"""Methods of the fake that are paths as well."""


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
            return [asdict(attempt) for attempt in fake.outbox.attempts]
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
            try:
                return replace_settings(fake.behaviour, given, "mail", "billing")
            except ValueError as error:
                raise invalid(str(error)) from None
        case "PUT", "endpoints":
            endpoints = Converter().structure(given["endpoints"], list[Endpoint])
            fake.outbox.endpoints[:] = endpoints
            return {"endpoints": len(endpoints)}
        case "POST", "stock":
            return {"ids": fake.stock(**given)}
        case "POST", command if command in COMMANDS:
            try:
                return getattr(fake, command)(**given)
            except TypeError as error:
                raise invalid(str(error)) from None
        case _:
            raise ApiFault(404, "invalid_request_error", f"No such path: {method} {path}")
