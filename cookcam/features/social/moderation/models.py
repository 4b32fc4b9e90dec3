"""Reports, their targets, and the notices about decisions."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from attrs import frozen
from msgspec import Struct

from cookcam.errors import NotFound

TargetType = Literal["recipe", "photo", "comment", "message", "user"]
Reason = Literal[
    "spam", "harassment", "hate", "sexual", "violence", "dangerous", "copyright", "other"
]
Decision = Literal["dismiss", "hide", "restore"]
Status = Literal["open", "dismissed", "upheld"]


class TargetNotFound(NotFound):
    """There is no such content, or the reporter may not read it."""

    default_message = "The reported content does not exist"


@frozen
class Target:
    """Content at the time of a report. `content` is its text, a photo's address, or a name."""

    author_id: UUID | None
    content: str | None


@frozen
class StoredReport:
    id: UUID
    target_type: TargetType
    target_id: str
    author_id: UUID | None
    reason: Reason
    status: Status


@frozen
class DecidedReports:
    """The result of a decision: the reports it closed, by their reporters, and its author."""

    report: StoredReport
    reporters: list[UUID]


class ReportDecided(Struct):
    """To the reporter: `upheld` means that the content was hidden."""

    report_id: UUID
    target_type: TargetType
    target_id: str
    upheld: bool


class ContentModerated(Struct):
    """To the author: the content was hidden, or is visible again."""

    target_type: TargetType
    target_id: str
    hidden: bool
    reason: Reason
    decided_at: datetime
