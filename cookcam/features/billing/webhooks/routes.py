"""`/subscription/webhook`: where Stripe tells what happened.

The body is taken as it came: it is what was signed. Who has no good signature is counted like any
other client, learns what is wrong with it, and leaves nothing behind.
Source: `spec/payments-and-gamification.md` §5.1, §5.2, §5.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias, cast

from attrs import frozen
from quart import request

from cookcam.config.readers import Secret
from cookcam.errors import BadRequest, InternalError
from cookcam.features.billing.webhooks.inbox import Inbox
from cookcam.features.billing.webhooks.models import Receipted, storable
from cookcam.http import (
    Routes,
    current_request_info,
    errors_as,
    hidden,
    spend,
    unconditional,
    webhook,
)
from cookcam.http.client_address import quota_key
from cookcam.http.rate_limit import GLOBAL
from cookcam.http.responses import RawResponse
from cookcam.integrations.stripe.events import Event, InvalidSignature, verify
from cookcam.integrations.stripe.reading import MalformedObject

Reply: TypeAlias = RawResponse | tuple[dict[str, Any], int]

_KNOWN = {
    "duplicate": (200, "Event already processed"),
    "in_progress": (409, "Event currently being processed"),
}


@frozen
class Endpoint:
    """Its secrets: more than one while one is replaced; none where it is not configured."""

    secrets: Sequence[Secret]
    now: Callable[[], datetime]

    async def event(self) -> tuple[Event, str | None]:
        """The verified event of the running request, and its text if PostgreSQL can keep it.

        Raises InvalidSignature, and BadRequest for what is signed and no event.
        """
        body = bytes(await cast("Any", request).body)
        try:
            event = verify(
                body, request.headers.get("Stripe-Signature"), self.secrets, now=self.now()
            )
        except InvalidSignature:
            _count()
            raise
        except MalformedObject:
            raise BadRequest("The body is no event", error="Invalid payload") from None
        return event, storable(body)


def routes(inbox: Inbox | None, ours: Endpoint, connect: Endpoint) -> Routes:
    """`inbox` is None where payments are not configured."""
    bp = Routes("stripe-webhooks", __name__, legacy=True)

    @bp.post("/subscription/webhook/stripe")
    @webhook
    @errors_as(unexpected="Webhook processing failed")
    @unconditional
    @hidden
    async def stripe_webhook() -> Reply:
        """Events of our own account."""
        if inbox is None:
            raise InternalError(error="Stripe not configured")
        if not request.headers.get("Stripe-Signature"):
            _count()
            raise BadRequest("There is no Stripe-Signature header", error="Missing signature")
        if not ours.secrets:
            raise InternalError(error="Webhook not configured")
        try:
            event, body = await ours.event()
        except InvalidSignature as invalid:
            raise BadRequest(invalid.message, error="Invalid signature") from None
        receipted = await inbox.receive(event, body)
        match receipted.outcome:
            case "processed":
                said = {"eventType": event.type, "durationMs": receipted.milliseconds}
                return {"received": True, "processed": True, **said}, 200
            case "failed":
                return _failed("Processing failed - will retry")
            case _:
                return _known(receipted)

    @bp.post("/subscription/webhook/stripe-connect")
    @webhook
    @errors_as(unexpected="Connect webhook processing failed")
    @unconditional
    @hidden
    async def connect_webhook() -> Reply:
        """Events of creators' accounts."""
        if inbox is None:
            raise InternalError(error="Stripe not configured")
        if not connect.secrets:
            raise InternalError(error="Connect webhook not configured")
        try:
            event, body = await connect.event()
        except InvalidSignature as invalid:
            words = f"Connect Webhook Error: {invalid.message}".encode()
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(words)),
            ]
            return RawResponse(400, headers, words)
        receipted = await inbox.receive(event, body)
        match receipted.outcome:
            case "processed":
                return {"received": True, "processed": True, "type": event.type}, 200
            case "failed":
                return _failed("Processing failed - logged for investigation")
            case _:
                return _known(receipted)

    return bp


def _count() -> None:
    """Counts the running request for its address. Raises LimitReached."""
    spend(GLOBAL, quota_key(current_request_info().client_address))


def _failed(words: str) -> Reply:
    """A 500, so that Stripe sends the event again."""
    return {"received": True, "processed": False, "error": words}, 500


def _known(receipted: Receipted) -> Reply:
    status, message = _KNOWN[receipted.outcome]
    body = {"received": True, "processed": False, "reason": receipted.outcome, "message": message}
    return body, status
