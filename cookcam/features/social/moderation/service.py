"""The rules of reports and moderators' decisions (docs/safety.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.errors import ValidationError
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.social.moderation.models import DecidedReports, Decision, TargetNotFound
from cookcam.features.social.moderation.requests import ReportRequest
from cookcam.features.social.moderation.store import ReportStore
from cookcam.identity import Identity


@frozen
class Moderation:
    store: ReportStore
    recipes: Recipes
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
        decided = await self.store.decide(moderator.user_id, report_id, decision, note, self.now())
        if decision != "dismiss" and decided.report.target_type in ("recipe", "user"):
            await self.recipes.visibility_changed()
        return decided
