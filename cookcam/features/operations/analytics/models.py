"""An analytics event and the periods of the reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID, uuid4, uuid5

import orjson
from attrs import frozen

from cookcam.errors import ValidationError
from cookcam.features.literals import rejected_field

Timeframe = Literal["1d", "7d", "30d", "90d"]
DAYS: Final[Mapping[Timeframe, int]] = {"1d": 1, "7d": 7, "30d": 30, "90d": 90}

MAX_DATA: Final = 8192
"""Bytes of `event_data` and `metadata` together, as compact JSON."""
MAX_TIMESTAMP_LENGTH: Final = 200

_EVENT_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@frozen
class AnalyticsEvent:
    """An event of a user. `data` and `metadata` are encoded JSON.

    Two events with the same user, type and client timestamp have the same id and are stored once.
    """

    id: UUID
    user_id: UUID
    event_type: str
    data: bytes
    metadata: bytes
    session_id: str | None
    received_at: datetime

    @classmethod
    def create(
        cls,
        user_id: UUID,
        event_type: str,
        event_data: Any,
        metadata: dict[str, Any],
        session_id: str | None,
        now: datetime,
    ) -> AnalyticsEvent:
        """Raises ValidationError for an event that the database would not store."""
        if not event_type:
            raise rejected_field("Event type is required", "event_type")
        if not _EVENT_TYPE.fullmatch(event_type):
            raise ValidationError.of(
                "event_type", "must have 1 to 64 characters of A-Z, a-z, 0-9, _ . : -"
            )
        data = orjson.dumps({} if event_data is None else event_data)
        encoded = orjson.dumps(metadata)
        if len(data) + len(encoded) > MAX_DATA:
            raise ValidationError.of(
                "event_data", f"must have at most {MAX_DATA} bytes of JSON with the metadata"
            )
        event_id = _event_id(user_id, event_type, metadata.get("timestamp"))
        return cls(event_id, user_id, event_type, data, encoded, session_id, now)


def _event_id(user_id: UUID, event_type: str, timestamp: Any) -> UUID:
    if timestamp is None:
        return uuid4()
    text = timestamp if isinstance(timestamp, str) else orjson.dumps(timestamp).decode()
    if len(text) > MAX_TIMESTAMP_LENGTH:
        raise ValidationError.of(
            "metadata.timestamp", f"must have at most {MAX_TIMESTAMP_LENGTH} characters"
        )
    return uuid5(user_id, f"{event_type}\n{text}")
