"""Bodies and queries of the analytics routes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, cast

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cookcam.features.operations.analytics.models import DAYS, Timeframe
from cookcam.http import body_with

MAX_EVENTS: Final = 500
"""Events of one batch."""

EVENT_TYPE_PATTERN: Final = "^[A-Za-z0-9_.:-]{1,64}$"
BATCH_EVENT_TYPE_PATTERN: Final = "^[A-Za-z0-9_.:-]{0,64}$"
"""Beside `events` it is not used, and may be empty."""
PERIODS: Final = {"day": "1d", "week": "7d", "month": "30d"}

EventType = Annotated[str, Meta(extra_json_schema={"pattern": EVENT_TYPE_PATTERN})]
JsonObject = Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": True})]
SessionId = Annotated[str, Meta(max_length=200)]


class TrackedEvent(Struct):
    """`event_data` and `metadata` have at most 8 KB together. `metadata.timestamp` is the time of
    the client: an event that is sent again with the same one is stored once."""

    event_type: EventType
    event_data: Any = None
    metadata: JsonObject = field(default_factory=dict[str, Any])
    session_id: SessionId | None = None


class TrackRequest(Struct):
    """One event, or a batch in `events`. XP is awarded by the server only: `xp_gained` is
    ignored."""

    any_of: ClassVar = (
        body_with(event_type={"type": "string", "pattern": EVENT_TYPE_PATTERN}),
        body_with(events={"type": "array"}),
    )

    event_type: Annotated[str, Meta(pattern=BATCH_EVENT_TYPE_PATTERN)] = ""
    event_data: Any = None
    metadata: JsonObject = field(default_factory=dict[str, Any])
    session_id: SessionId | None = None
    events: Annotated[list[TrackedEvent], Meta(min_length=1, max_length=MAX_EVENTS)] | UnsetType = (
        UNSET
    )

    def all_events(self) -> list[TrackedEvent]:
        if not isinstance(self.events, UnsetType):
            return self.events
        return [TrackedEvent(self.event_type, self.event_data, self.metadata, self.session_id)]


class TimeframeQuery(Struct):
    """`period` is another spelling of `timeframe`. Any other value means `7d`."""

    timeframe: Annotated[str, Meta(examples=list(DAYS))] = ""
    period: Annotated[str, Meta(examples=list(PERIODS))] = ""

    def effective(self, maximum: Timeframe) -> Timeframe:
        name = self.timeframe or PERIODS.get(self.period, "")
        if name in DAYS and DAYS[cast("Timeframe", name)] <= DAYS[maximum]:
            return cast("Timeframe", name)
        return "7d"
