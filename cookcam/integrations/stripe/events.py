"""Stripe's events: verification of the signature, and parsing.

Source: Stripe's page on verifying webhook signatures. The library's check is not used: this one
works on the received bytes, rejects times in the future as well as in the past, and avoids an
import of half a second in the first webhook.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeGuard, cast

import orjson
from attrs import field, frozen

from cookcam.config.readers import Secret
from cookcam.errors import BadRequest
from cookcam.integrations.stripe.reading import MalformedObject, Object, text_or_none

TOLERANCE = 300
"""Maximum difference between the signature's time and now, in seconds."""

MAX_SIGNATURES = 16
"""Signatures read from one header. Stripe sends one for each valid secret, at most two."""


MAX_IDENTIFIER = 255
"""Characters of an event's id or type. Stripe's page on upgrades: ids have at most 255."""


class InvalidSignature(BadRequest):
    """The signature is invalid or too old. `message` is one of

    "Missing signature", "Malformed signature", "No matching signature", "Timestamp outside the
    tolerance".
    """


class UnreadableEvent(MalformedObject):
    """A signed event of which only `id` and `type` could be parsed."""

    def __init__(self, event_id: str, event_type: str) -> None:
        super().__init__()
        self.id = event_id
        self.type = event_type


@frozen
class Event:
    """`account` is the connected account of the event, None for our own.

    `object` is the object at the time of the event; parse it with `of` of its class. `previous`
    has the previous values of the fields that an `...updated` event changed. `payload` is the whole
    event.
    """

    id: str
    type: str
    created: datetime
    livemode: bool
    account: str | None
    api_version: str | None
    object: Object = field(repr=False)
    previous: Object = field(repr=False)
    payload: Object = field(repr=False)

    @classmethod
    def of(cls, payload: Object) -> Event:
        """Raises MalformedObject."""
        try:
            data = payload["data"]
            if payload["object"] != "event" or not isinstance(data["object"], Mapping):
                raise MalformedObject
            event = cls(
                id=payload["id"],
                type=payload["type"],
                created=datetime.fromtimestamp(payload["created"], UTC),
                livemode=bool(payload["livemode"]),
                account=text_or_none(payload.get("account")),
                api_version=text_or_none(payload.get("api_version")),
                object=cast("Object", data["object"]),
                previous=data.get("previous_attributes") or {},
                payload=payload,
            )
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            raise MalformedObject from None
        if not (_is_identifier(event.id) and _is_identifier(event.type)):
            raise MalformedObject
        return event


def verify(
    payload: bytes,
    signature: str | None,
    secrets: Sequence[Secret],
    *,
    now: datetime,
    tolerance: int = TOLERANCE,
) -> Event:
    """Verifies and parses the raw body of a webhook request; `signature` is its header.

    A signature by any of `secrets` is valid: while a secret is rotated there are two. Raises
    InvalidSignature, and for a signed body UnreadableEvent, or MalformedObject when it is no event.
    """
    if not signature:
        raise InvalidSignature("Missing signature")
    time, signatures = _parts(signature)
    signed = b"%d." % time + payload
    matches = [
        hmac.compare_digest(_mac(secret, signed), candidate)
        for secret in secrets
        for candidate in signatures
    ]
    if not any(matches):
        raise InvalidSignature("No matching signature")
    if abs(now.timestamp() - time) > tolerance:
        raise InvalidSignature("Timestamp outside the tolerance")
    try:
        document: object = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise MalformedObject from None
    if not isinstance(document, dict):
        raise MalformedObject
    body = cast("dict[str, Any]", document)
    try:
        return Event.of(body)
    except MalformedObject:
        event_id, event_type = body.get("id"), body.get("type")
        if not (_is_identifier(event_id) and _is_identifier(event_type)):
            raise
        raise UnreadableEvent(event_id, event_type) from None


def _is_identifier(value: object) -> TypeGuard[str]:
    """PostgreSQL's text has no NUL."""
    return isinstance(value, str) and 0 < len(value) <= MAX_IDENTIFIER and "\0" not in value


def _mac(secret: Secret, signed: bytes) -> bytes:
    return hmac.new(secret.reveal().encode(), signed, sha256).hexdigest().encode()


def _parts(header: str) -> tuple[int, list[bytes]]:
    """Parses the time and the signatures of scheme v1; other schemes are ignored."""
    pairs = [item.strip().partition("=") for item in header.split(",")]
    times = [value for key, _, value in pairs if key == "t"]
    signatures = list(_ascii(value for key, _, value in pairs if key == "v1"))
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 12):
        raise InvalidSignature("Malformed signature")
    if not signatures:
        raise InvalidSignature("Malformed signature")
    return int(times[0]), signatures[:MAX_SIGNATURES]


def _ascii(values: Iterator[str]) -> Iterator[bytes]:
    for value in values:
        if value.isascii():
            yield value.encode()
