"""A request under a key, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import frozen

from cookcam.errors import Conflict


@frozen
class Keyed:
    """One request under a key. `endpoint` is for people; `request_hash` tells requests apart."""

    user_id: UUID
    key: str
    endpoint: str
    request_hash: str


@frozen
class Claim:
    """The right to answer for a key. Who was thought dead and replaced no longer has it."""

    keyed: Keyed
    claimed_at: datetime


@frozen
class Reply:
    """A stored reply; `response` is its JSON."""

    status_code: int
    response: Any


class KeyReused(Conflict):
    """The key belongs to another request (`spec/database.md` §2.7)."""

    code = "IDEMPOTENCY_KEY_REUSED"
    default_message = "This Idempotency-Key was used for a different request"


class StillRunning(Conflict):
    """The first request under this key has not been answered yet."""

    default_message = "The first request with this Idempotency-Key is still being processed"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", "2")]
