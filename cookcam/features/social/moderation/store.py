"""The SQL of reports and decisions.

Targets are read under the reporter's role: only what a user can read can be reported. The rest runs
as SERVICE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import Conflict, NotFound
from cookcam.features.messaging.notifications.messages import (
    Notification,
    content_moderated,
    report_decided,
)
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.features.pages import PageKey, newest_first, time_text
from cookcam.features.social.moderation.models import (
    DecidedReports,
    Decision,
    Status,
    StoredReport,
    Target,
    TargetType,
)
from cookcam.features.social.moderation.requests import ReportRequest
from cookcam.identity import Identity

TARGETS: Final[Mapping[TargetType, LiteralString]] = {
    "recipe": """
select r.created_by as author_id, left(concat_ws(E'\\n', r.title, r.description), 2000) as content
from public.recipes r where r.id::text = %(target_id)s""",
    "photo": """
select p.user_id as author_id, left(concat_ws(E'\\n', p.photo_url, p.description), 2000) as content
from public.recipe_completion_photos p where p.id::text = %(target_id)s""",
    "comment": """
select c.user_id as author_id, c.comment as content
from public.live_recipe_comments c where c.id::text = %(target_id)s""",
    "message": """
select m.user_id as author_id, m.message as content
from public.live_cooking_messages m
where m.session_id = split_part(%(target_id)s, '/', 1)
  and m.seq::text = split_part(%(target_id)s, '/', 2)""",
    "review": """
select r.user_id as author_id, r.review as content
from public.recipe_ratings r
where r.recipe_id::text = split_part(%(target_id)s, '/', 1)
  and r.user_id::text = split_part(%(target_id)s, '/', 2) and r.review <> ''""",
    "user": """
select u.id as author_id, u.name as content
from public.users u where u.id::text = %(target_id)s""",
}

HIDE: Final[Mapping[TargetType, LiteralString]] = {
    "recipe": """
update public.recipes set
  hidden_at = case when %(hidden)s then now() end, is_published = not %(hidden)s
where id::text = %(target_id)s and (hidden_at is null) = %(hidden)s
  and (is_published or not %(hidden)s)""",
    "photo": """
update public.recipe_completion_photos set hidden_at = case when %(hidden)s then now() end
where id::text = %(target_id)s""",
    "comment": """
update public.live_recipe_comments set hidden_at = case when %(hidden)s then now() end
where id::text = %(target_id)s""",
    "message": """
update public.live_cooking_messages set hidden_at = case when %(hidden)s then now() end
where session_id = split_part(%(target_id)s, '/', 1)
  and seq::text = split_part(%(target_id)s, '/', 2)""",
    "review": """
update public.recipe_ratings set hidden_at = case when %(hidden)s then now() end
where recipe_id::text = split_part(%(target_id)s, '/', 1)
  and user_id::text = split_part(%(target_id)s, '/', 2)""",
    "user": """
update public.users set hidden_at = case when %(hidden)s then now() end
where id::text = %(target_id)s""",
}

# The second report of the same reporter while the first is open returns the first.
REPORT: LiteralString = """
with added as (
  insert into public.content_reports
    (reporter_id, target_type, target_id, author_id, reason, details, content)
  values (
    %(reporter)s, %(target_type)s, %(target_id)s, %(author)s, %(reason)s, %(details)s, %(content)s
  )
  on conflict (reporter_id, target_type, target_id) where status = 'open' do nothing
  returning id
)
select id from added
union all
select r.id from public.content_reports r
where r.reporter_id = %(reporter)s and r.target_type = %(target_type)s
  and r.target_id = %(target_id)s and r.status = 'open'
limit 1"""

REPORTS = newest_first(
    "reports",
    f"""json_build_object(
  'id', r.id, 'target_type', r.target_type, 'target_id', r.target_id,
  'author_id', r.author_id, 'author_name', a.name, 'reporter_id', r.reporter_id,
  'reason', r.reason, 'details', r.details, 'content', r.content, 'status', r.status,
  'reports', (
    select count(*) from public.content_reports o
    where (o.target_type, o.target_id) = (r.target_type, r.target_id)
  ),
  'created_at', {time_text("r.created_at")},
  'decided_at', {time_text("r.decided_at")}
)""",  # noqa: S608 - constants
    """from public.content_reports r left join public.users a on a.id = r.author_id
where r.status = %(status)s""",
    time="r.created_at",
    id="r.id",
)

# All open reports of the content are locked, in one order.
LOCK: LiteralString = """
select r.id, r.target_type, r.target_id, r.author_id, r.reason, r.status
from public.content_reports r where r.id = %(report_id)s for update"""

CLOSE: LiteralString = """
update public.content_reports set
  status = %(status)s, decided_by = %(moderator)s, decided_at = now()
where target_type = %(target_type)s and target_id = %(target_id)s and status = 'open'
returning reporter_id as id"""

REOPENED: LiteralString = """
update public.content_reports set
  status = 'dismissed', decided_by = %(moderator)s, decided_at = now()
where target_type = %(target_type)s and target_id = %(target_id)s and status = 'upheld'
returning reporter_id as id"""

AUDIT: LiteralString = """
insert into public.moderation_actions
  (report_id, moderator_id, action, target_type, target_id, note)
values (%(report_id)s, %(moderator)s, %(action)s, %(target_type)s, %(target_id)s, %(note)s)
returning id"""


@frozen
class ReporterRow:
    id: UUID | None


@frozen
class ReportStore:
    database: Database
    notifications: QueueStore

    async def target(
        self, reader: Identity, target_type: TargetType, target_id: str
    ) -> Target | None:
        """The content as the reader sees it; None when there is none."""
        # A user can be reported after a block too.
        actor = SERVICE if target_type == "user" else reader
        return await self.database.fetch_optional_as(
            actor, Target, TARGETS[target_type], target_id=target_id
        )

    async def report(self, reporter: UUID, request: ReportRequest, target: Target) -> UUID:
        """Store a report; returns the id of the open report of that reporter and content."""
        async with self.database.transaction() as tx:
            return await tx.fetch_value(
                REPORT,
                reporter=reporter,
                target_type=request.target_type,
                target_id=request.target_id,
                author=target.author_id,
                reason=request.reason,
                details=request.details,
                content=target.content,
            )

    async def page(self, status: Status, key: PageKey, limit: int) -> bytes:
        """A page of the reports with a status as JSON, the latest first."""
        return await self.database.fetch_json_as(
            SERVICE, REPORTS, status=status, limit=limit, **key.parameters()
        )

    async def decide(
        self,
        moderator: UUID,
        report_id: UUID,
        decision: Decision,
        note: str | None,
        now: datetime,
    ) -> DecidedReports:
        """Apply a decision to the reported content, to all its reports and to the audit rows, and
        notify the reporters and the author of the content.

        Raises NotFound, and Conflict for a report that is not in the state the decision needs.
        """
        async with self.database.transaction() as tx:
            report = await tx.fetch_optional(StoredReport, LOCK, report_id=report_id)
            if report is None:
                raise NotFound("Report not found", error="Report not found")
            if report.status != ("upheld" if decision == "restore" else "open"):
                raise Conflict(f"The report is {report.status}")
            if decision != "dismiss":
                await tx.execute(
                    HIDE[report.target_type],
                    target_id=report.target_id,
                    hidden=decision == "hide",
                )
            closed = await self._close(tx, moderator, report, decision)
            action_id: int = await tx.fetch_value(
                AUDIT,
                report_id=report.id,
                moderator=moderator,
                action=decision,
                target_type=report.target_type,
                target_id=report.target_id,
                note=note,
            )
            await self.notifications.add(
                tx, _notifications(report, closed, decision, f"moderation:{action_id}", now)
            )
        return DecidedReports(report, closed)

    async def _close(
        self, tx: Transaction, moderator: UUID, report: StoredReport, decision: Decision
    ) -> list[UUID]:
        target = {"target_type": report.target_type, "target_id": report.target_id}
        if decision == "restore":
            rows = await tx.fetch_all(ReporterRow, REOPENED, moderator=moderator, **target)
        else:
            status = "upheld" if decision == "hide" else "dismissed"
            rows = await tx.fetch_all(
                ReporterRow, CLOSE, moderator=moderator, status=status, **target
            )
        return [row.id for row in rows if row.id is not None]


def _notifications(
    report: StoredReport, reporters: Sequence[UUID], decision: Decision, key: str, now: datetime
) -> list[Notification]:
    target = {"target_type": report.target_type, "target_id": report.target_id}
    hidden = decision == "hide"
    data = {"report_id": report.id, **target, "upheld": hidden}
    notifications = [report_decided(reporter, data, key, now) for reporter in reporters]
    if decision != "dismiss" and report.author_id is not None:
        data = {**target, "hidden": hidden, "reason": report.reason, "decided_at": now}
        notifications.append(content_moderated(report.author_id, data, key, now))
    return notifications
