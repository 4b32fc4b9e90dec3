"""Bodies and queries of the analytics routes."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cookcam.features.operations.analytics.models import DAYS, Timeframe

MAX_EVENTS: Final = 500
"""Events of one batch."""

PERIODS: Final = {"day": "1d", "week": "7d", "month": "30d"}

EventType = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Za-z0-9_.:-]{1,64}$"})]


class TrackedEvent(Struct):
    """`event_data` and `metadata` have at most 8 KB together. `metadata.timestamp` is the time of
    the client: an event that is sent again with the same one is stored once."""

    event_type: EventType = ""
    event_data: Any = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    session_id: str | None = None


class TrackRequest(TrackedEvent):
    """One event, or a batch in `events`. XP is awarded by the server only: `xp_gained` is
    ignored."""

    events: Annotated[list[TrackedEvent], Meta(min_length=1, max_length=MAX_EVENTS)] | UnsetType = (
        UNSET
    )


class TimeframeQuery(Struct):
    """`period` is another spelling of `timeframe`. Any other value means `7d`."""

    timeframe: Annotated[str, Meta(extra_json_schema={"enum": list(DAYS)})] = ""
    period: Annotated[str, Meta(extra_json_schema={"enum": list(PERIODS)})] = ""

    def effective(self, longest: Timeframe) -> Timeframe:
        name = self.timeframe or PERIODS.get(self.period, "")
        if name in DAYS and DAYS[cast("Timeframe", name)] <= DAYS[longest]:
            return cast("Timeframe", name)
        return "7d"
