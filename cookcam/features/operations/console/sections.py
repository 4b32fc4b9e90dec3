"""The parts of the console's views, rendered from the current state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, cast

from attrs import define
from msgspec.json import decode

from cookcam.errors import AppError
from cookcam.features.billing.webhooks.store import FailedEvent
from cookcam.features.operations.console.models import SECTIONS, Section, View
from cookcam.features.operations.console.pages import render
from cookcam.features.operations.console.service import Operations
from cookcam.features.operations.health.service import Health
from cookcam.features.pages import PageKey
from cookcam.features.social.moderation.models import Status
from cookcam.features.social.moderation.responses import ReportListResponse
from cookcam.lifecycle.state import Phase
from cookcam.lifecycle.task_rows import count_tasks, task_rows
from cookcam.observability.metrics import Metrics

MAX_LISTED: Final = 50

REFRESH: Final[Mapping[Section, timedelta]] = {
    "health": timedelta(seconds=3),
    "errors": timedelta(seconds=2),
    "tasks": timedelta(seconds=3),
    "webhooks": timedelta(seconds=4),
    "notifications": timedelta(seconds=4),
    "reports": timedelta(seconds=4),
    "drain": timedelta(),
    "switches": timedelta(seconds=2),
    "last_run": timedelta(days=1),
    "audit": timedelta(seconds=4),
}
"""How often a section is rendered while it is watched."""

PHASES: Final[Sequence[tuple[Phase, str]]] = (
    (Phase.SERVING, "Serving"),
    (Phase.NOTICE, "Notice to sockets"),
    (Phase.CLOSING, "Closing listeners"),
    (Phase.DRAINING, "Finishing requests and sockets"),
    (Phase.BACKGROUND, "Finishing background work"),
    (Phase.CLOSED, "Ended"),
)


@define(eq=False)
class Sections:
    """`watchers` counts the sockets of consoles, which are not work that a drain waits for."""

    operations: Operations
    health: Health
    metrics: Metrics
    watchers: Callable[[], int]

    async def of_view(self, view: View) -> dict[Section, str]:
        return {section: await self.render(section, view) for section in SECTIONS[view]}

    async def render(self, section: Section, view: View) -> str:
        """The HTML of a section; that of one that cannot be read says so."""
        renderers: Mapping[Section, Callable[[], Awaitable[str]]] = {
            "health": self._health,
            "errors": self._errors,
            "tasks": self._tasks,
            "webhooks": self._webhooks,
            "notifications": self._notifications,
            "reports": lambda: self._reports(view),
            "drain": self._drain,
            "switches": self._switches,
            "last_run": self._last_run,
            "audit": self._audit,
        }
        try:
            return await renderers[section]()
        except AppError as error:
            return render("sections/unavailable.html", code=error.code)

    def units_left(self) -> Mapping[str, int]:
        """The running units of work by kind, without the sockets of consoles."""
        counts = self.operations.process.work.counts()
        return {
            "request": counts["request"],
            "socket": max(0, counts["socket"] - self.watchers()),
            "job": counts["job"],
        }

    async def _health(self) -> str:
        details = await self.health.detailed()
        return render(
            "sections/health.html", health=details, sockets=self.health.status(with_sockets=True)
        )

    async def _errors(self) -> str:
        hour = self.metrics.last_hour.total()
        latest = sorted(
            self.metrics.latest_errors.values(),
            key=lambda one: (-hour.get(one.code, 0), one.code),
        )
        return render("sections/errors.html", errors=latest, hour=hour)

    async def _tasks(self) -> str:
        root = self.operations.process.describe()["tasks"]
        return render(
            "sections/tasks.html", rows=list(task_rows(root)), count=1 + count_tasks(root)
        )

    async def _webhooks(self) -> str:
        events: list[FailedEvent] = []
        for store in self.operations.webhooks:
            events += await store.failed(MAX_LISTED)
        events.sort(key=lambda event: (event.next_attempt_at is not None, event.received_at))
        dead = sum(event.next_attempt_at is None for event in events)
        return render("sections/webhooks.html", events=events, dead=dead)

    async def _notifications(self) -> str:
        failed = await self.operations.notifications.failed(MAX_LISTED)
        return render("sections/notifications.html", failed=failed)

    async def _switches(self) -> str:
        on = {switch.name: switch for switch in await self.operations.switches.read()}
        mode = self.operations.process.lifecycle.mode
        return render("sections/switches.html", switches=on, mode=mode)

    async def _reports(self, view: View) -> str:
        status = cast("Status", view.partition("/")[2] or "open")
        page = await self.operations.moderation.store.page(status, PageKey(), MAX_LISTED)
        reports = decode(page, type=ReportListResponse)
        return render("sections/reports.html", page=reports, status=status)

    async def _drain(self) -> str:
        process = self.operations.process
        return render(
            "sections/drain.html",
            process_id=self.operations.process_id,
            process=process,
            phases=PHASES,
            left=self.units_left(),
            finished=process.work.finished,
        )

    async def _last_run(self) -> str:
        return render("sections/last_run.html", record=self.operations.process.record)

    async def _audit(self) -> str:
        return render("sections/audit.html", actions=await self.operations.store.latest())
