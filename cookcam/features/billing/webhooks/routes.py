"""`/subscription/webhook`: Stripe's events (docs/payments.md).

The signature covers the raw body. A request without a valid signature counts towards the limit of
its address, and is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias, cast

import structlog
from attrs import field, frozen
from quart import request

from cookcam.config.readers import Secret
from cookcam.errors import BadRequest, InternalError
from cookcam.features.billing.stripe.events import StripeInbox
from cookcam.features.billing.webhooks.inbox import Receipt
from cookcam.features.billing.webhooks.store import EventHeader
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
from cookcam.integrations.stripe.events import Event, InvalidSignature, UnreadableEvent, verify
from cookcam.integrations.stripe.reading import API_VERSION, MalformedObject

log = structlog.get_logger(__name__)

WebhookResponse: TypeAlias = RawResponse | tuple[dict[str, Any], int]

_REJECTIONS = {
    "unreadable": (200, "Event cannot be read, stored for investigation"),
    "duplicate": (200, "Event already processed"),
    "in_progress": (409, "Event currently being processed"),
}


@frozen
class Endpoint:
    """`secrets`: two while a secret is rolled; none if the endpoint is not configured."""

    secrets: Sequence[Secret]
    now: Callable[[], datetime]
    _reported_versions: set[str | None] = field(factory=set[str | None], init=False)

    async def event(self) -> tuple[Event, bytes]:
        """The verified event of the current request, and its body.

        Raises InvalidSignature, UnreadableEvent, and BadRequest for a signed body that is no event.
        """
        body = bytes(await cast("Any", request).body)
        try:
            event = verify(
                body, request.headers.get("Stripe-Signature"), self.secrets, now=self.now()
            )
        except InvalidSignature:
            await _count()
            raise
        except UnreadableEvent:
            raise
        except MalformedObject:
            raise BadRequest("The body is no event", error="Invalid payload") from None
        self._report_version(event.api_version)
        return event, body

    def _report_version(self, version: str | None) -> None:
        """Logs once that events have another API version than the server's requests. Versions back
        to 2022-11-15 are parsed; a later one may not be."""
        if version != API_VERSION and version not in self._reported_versions:
            self._reported_versions.add(version)
            log.warning(
                "Stripe webhook endpoint has another API version",
                api_version=version,
                expected=API_VERSION,
            )


def routes(inbox: StripeInbox | None, ours: Endpoint, connect: Endpoint) -> Routes:
    """`inbox` is None where payments are not configured."""
    bp = Routes("stripe-webhooks", __name__, legacy=True)

    @bp.post("/subscription/webhook/stripe")
    @webhook
    @errors_as(unexpected="Webhook processing failed")
    @unconditional
    @hidden
    async def stripe_webhook() -> WebhookResponse:
        """Events of the platform's account."""
        if inbox is None:
            raise InternalError(error="Stripe not configured")
        if not request.headers.get("Stripe-Signature"):
            await _count()
            raise BadRequest("There is no Stripe-Signature header", error="Missing signature")
        if not ours.secrets:
            raise InternalError(error="Webhook not configured")
        try:
            event, body = await ours.event()
        except InvalidSignature as invalid:
            raise BadRequest(invalid.message, error="Invalid signature") from None
        except UnreadableEvent as unreadable:
            return _rejection(await _store_unreadable(inbox, unreadable))
        receipt = await inbox.receive(event, body)
        match receipt.outcome:
            case "processed":
                result = {"eventType": event.type, "durationMs": receipt.milliseconds}
                return {"received": True, "processed": True, **result}, 200
            case "failed":
                return _failed("Processing failed - will retry")
            case _:
                return _rejection(receipt)

    @bp.post("/subscription/webhook/stripe-connect")
    @webhook
    @errors_as(unexpected="Connect webhook processing failed")
    @unconditional
    @hidden
    async def connect_webhook() -> WebhookResponse:
        """Events of creators' accounts."""
        if inbox is None:
            raise InternalError(error="Stripe not configured")
        if not connect.secrets:
            raise InternalError(error="Connect webhook not configured")
        try:
            event, body = await connect.event()
        except InvalidSignature as invalid:
            text = f"Connect Webhook Error: {invalid.message}".encode()
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(text)),
            ]
            return RawResponse(400, headers, text)
        except UnreadableEvent as unreadable:
            return _rejection(await _store_unreadable(inbox, unreadable))
        receipt = await inbox.receive(event, body)
        match receipt.outcome:
            case "processed":
                return {"received": True, "processed": True, "type": event.type}, 200
            case "failed":
                return _failed("Processing failed - logged for investigation")
            case _:
                return _rejection(receipt)

    return bp


async def _store_unreadable(inbox: StripeInbox, event: UnreadableEvent) -> Receipt:
    return await inbox.receive_unreadable(EventHeader("stripe", event.id, event.type), event)


async def _count() -> None:
    """Counts the current request towards the limit of its address. Raises LimitReached."""
    await spend(GLOBAL, quota_key(current_request_info().client_address))


def _failed(error: str) -> WebhookResponse:
    """A 500, so that Stripe sends the event again."""
    return {"received": True, "processed": False, "error": error}, 500


def _rejection(receipt: Receipt) -> WebhookResponse:
    status, message = _REJECTIONS[receipt.outcome]
    body = {"received": True, "processed": False, "reason": receipt.outcome, "message": message}
    return body, status
