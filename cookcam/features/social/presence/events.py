"""Handler of the `update_cooking_status` event (docs/cooking.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from cookcam.features.social.presence.models import Activity, UserStatus
from cookcam.features.social.presence.service import Presence
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import Events


class UpdateStatus(Struct, rename="camel"):
    status: Activity
    recipe_id: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET
    current_step: Annotated[int, Meta(ge=0, le=10_000)] | UnsetType = UNSET


def events(presence: Presence, now: Callable[[], datetime]) -> Events:
    events = Events("presence")

    @events.on("update_cooking_status", UpdateStatus)
    async def update_status(caller: Connection, data: UpdateStatus) -> None:
        await presence.publish(
            UserStatus(
                user_id=caller.user_id,
                user_name=caller.user_name,
                status=data.status,
                recipe_id=data.recipe_id,
                current_step=data.current_step,
                timestamp=now(),
            )
        )

    return events
