"""Bodies and queries of reports and decisions."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cookcam.features.pages import PageQuery
from cookcam.features.social.moderation.models import Decision, Reason, Status, TargetType
from cookcam.text import clean_prose

Text = Annotated[str, Meta(max_length=1000)]


class ReportRequest(Struct):
    """`target_id` of a message is `<session id>/<seq>`, of a review `<recipe id>/<user id>`, and of
    other content its id."""

    target_type: TargetType
    target_id: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Reason
    details: Text | None = None

    def __post_init__(self) -> None:
        self.details = clean_prose(self.details) or None if self.details else None


class DecisionRequest(Struct):
    """`hide` and `dismiss` close the open reports of the content; `restore` takes back `hide`."""

    decision: Decision
    note: Text | None = None


class ReportQuery(PageQuery):
    status: Status = "open"
