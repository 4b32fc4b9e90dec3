"""Security events."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen
from msgspec import Struct

EventType = Literal["auth_failure", "rate_limit", "suspicious_activity", "unauthorized_access"]
Severity = Literal["low", "medium", "high", "critical"]


class SecurityEvent(Struct, frozen=True):
    """A row of `security_events`. `details` hold no personal data: an account is a keyed hash."""

    type: EventType
    severity: Severity
    ip: str | None
    user_id: str | None
    details: dict[str, str | int]
    request_id: str
    path: str
    method: str
    user_agent: str | None
    created_at: datetime


@frozen
class SecurityFigures:
    """Events of the last 24 hours, of all instances."""

    auth_failures: int
    rate_limits: int
    suspicious_activities: int
    failed_sign_ins: int
