"""A user's activity status."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

Activity = Literal["cooking", "planning", "shopping", "idle"]


class UserStatus(Struct, rename="camel", kw_only=True):
    """Payload of `user_status_updated`."""

    user_id: UUID
    user_name: str
    status: Activity
    recipe_id: str | UnsetType = UNSET
    current_step: int | UnsetType = UNSET
    timestamp: datetime
