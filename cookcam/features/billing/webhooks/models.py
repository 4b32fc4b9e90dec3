"""Events of Stripe on their way through the inbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

Standing = Literal["duplicate", "in_progress"]
Outcome = Literal["processed", "duplicate", "in_progress", "failed"]

LAST_ATTEMPT = 10


@frozen
class Claim:
    """The right to work on an event, until somebody finds it too old."""

    event_id: str
    claimed_at: datetime


@frozen
class Claimed:
    """A stored event, claimed. Without a `payload` Stripe has to be asked for it."""

    event_id: str
    event_type: str
    payload: Mapping[str, Any] | None = field(repr=False)
    claimed_at: datetime

    @property
    def claim(self) -> Claim:
        return Claim(self.event_id, self.claimed_at)


def storable(body: bytes) -> str | None:
    """The text of an event, or None for one that PostgreSQL cannot keep: it has no NUL in text."""
    return None if b"\\u0000" in body else body.decode()


@frozen
class Receipted:
    """What became of a delivery; `milliseconds` is how long the work took."""

    outcome: Outcome
    milliseconds: int = 0
