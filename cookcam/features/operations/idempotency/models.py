"""A keyed request, its claim and its stored reply."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import frozen

from cookcam.errors import Conflict


@frozen
class KeyedRequest:
    """A request with a key. `endpoint` is informative; `request_hash` identifies the request."""

    user_id: UUID
    key: str
    endpoint: str
    request_hash: str


@frozen
class Claim:
    """The claim on a key. It is lost when another request takes over an expired claim."""

    keyed_request: KeyedRequest
    claimed_at: datetime


@frozen
class Reply:
    """A stored reply; `response` is its JSON."""

    status_code: int
    response: Any


class KeyReused(Conflict):
    """The key belongs to a different request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    default_message = "This Idempotency-Key was used for a different request"


class StillRunning(Conflict):
    """The first request with this key is still running."""

    default_message = "The first request with this Idempotency-Key is still being processed"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", "2")]
