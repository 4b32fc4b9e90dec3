"""The rules of reports and moderators' decisions (docs/safety.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.errors import ValidationError
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.social.moderation.models import (
    ContentModerated,
    DecidedReports,
    Decision,
    ReportDecided,
    TargetNotFound,
)
from cookcam.features.social.moderation.requests import ReportRequest
from cookcam.features.social.moderation.store import ReportStore
from cookcam.identity import Identity
from cookcam.realtime.notifiers import UserNotifier


@frozen
class Moderation:
    store: ReportStore
    recipes: Recipes
    notifier: UserNotifier
    now: Callable[[], datetime]

    async def report(self, reporter: Identity, request: ReportRequest) -> UUID:
        """Report content or a user; a repeated report is the first one while that is open.

        Raises TargetNotFound, and ValidationError for the reporter's own content.
        """
        target = await self.store.target(reporter, request.target_type, request.target_id)
        if target is None:
            raise TargetNotFound()
        if target.author_id == reporter.user_id:
            raise ValidationError.of("target_id", "must not be your own")
        return await self.store.report(reporter.user_id, request, target)

    async def decide(
        self, moderator: Identity, report_id: UUID, decision: Decision, note: str | None
    ) -> DecidedReports:
        """Decide about a report and all others of the same content; notifies both sides.

        Raises NotFound, and Conflict for a report that is not in the state the decision needs.
        """
        decided = await self.store.decide(moderator.user_id, report_id, decision, note)
        report = decided.report
        if decision != "dismiss" and report.target_type in ("recipe", "user"):
            await self.recipes.visibility_changed()
        for reporter in decided.reporters:
            upheld = decision == "hide"
            data = ReportDecided(report.id, report.target_type, report.target_id, upheld)
            self._notify(reporter, "report_decided", data)
        if decision != "dismiss" and report.author_id is not None:
            moderated = ContentModerated(
                report.target_type,
                report.target_id,
                decision == "hide",
                report.reason,
                self.now(),
            )
            self._notify(report.author_id, "content_moderated", moderated)
        return decided

    def _notify(self, user_id: UUID, kind: str, data: object) -> None:
        self.notifier.send_to_user(
            user_id, "user_notification", {"type": kind, "data": data, "timestamp": self.now()}
        )
