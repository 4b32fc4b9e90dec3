"""Reports and their targets."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from attrs import frozen

from cookcam.errors import NotFound

TargetType = Literal["recipe", "photo", "comment", "message", "review", "user"]
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
