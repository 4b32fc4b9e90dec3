"""Response bodies of blocks, reports and decisions. PostgreSQL builds those of the lists."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.social.moderation.models import Reason, Status, TargetType


class BlockResponse(Struct):
    success: bool
    blocked: bool


class BlockedUser(Struct):
    id: UUID
    name: str | None
    avatar_url: str | None
    blocked_at: datetime


class BlockedUsersResponse(Struct):
    """A page, the latest first. `next_cursor` is null on the last page."""

    blocked: list[BlockedUser]
    next_cursor: str | None


class ReportResponse(Struct):
    success: bool
    report_id: UUID


class ReportRow(Struct):
    """`content` is the text at the time of the report. `author_name` is null for a deleted
    account. `reports` counts the reports of the same content."""

    id: UUID
    target_type: TargetType
    target_id: str
    author_id: UUID | None
    author_name: str | None
    reporter_id: UUID | None
    reason: Reason
    details: str | None
    content: str | None
    status: Status
    reports: int
    created_at: datetime
    decided_at: datetime | None


class ReportListResponse(Struct):
    """A page, the latest first. `next_cursor` is null on the last page."""

    reports: list[ReportRow]
    next_cursor: str | None


class DecisionResponse(Struct):
    """`closed` is the number of reports that the decision closed."""

    success: bool
    status: Status
    closed: int
