"""Updates of the open consoles over their sockets, also while the process drains.

The sockets of consoles are the last that a drain closes: when nothing else runs, or shortly before
its deadline.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final, NoReturn

import trio
from attrs import define, field
from msgspec import UNSET

from cookcam.config.sections import DrainConfig
from cookcam.errors import AppError
from cookcam.features.operations.console.models import (
    SECTIONS,
    VIEWS,
    ConsoleUpdate,
    Counts,
    Section,
    View,
)
from cookcam.features.operations.console.samples import INTERVAL, Sample, Sampler
from cookcam.features.operations.console.sections import REFRESH, Sections
from cookcam.lifecycle.state import Lifecycle
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.hub import Hub
from cookcam.realtime.server_events import ServerEvent

DRAIN_INTERVAL: Final = 0.2
CLOSE_MARGIN: Final = 1.0
"""Seconds before the deadline of a drain at which the consoles are closed."""
COUNTS_INTERVAL: Final = 4.0


def room_of(view: View) -> str:
    return f"console {view}"


@define(eq=False)
class ConsoleFeed:
    hub: Hub
    sections: Sections
    sampler: Sampler
    lifecycle: Lifecycle
    drain: DrainConfig
    _sent: dict[View, dict[Section, str]] = field(
        factory=dict[View, dict[Section, str]], init=False
    )
    _rendered_at: dict[tuple[View, Section], float] = field(
        factory=dict[tuple[View, Section], float], init=False
    )
    _counts: Counts | None = field(default=None, init=False)
    _counted_at: float = field(default=-math.inf, init=False)
    _sampled_at: int = field(default=0, init=False)
    _close_at: float = field(default=math.inf, init=False)

    async def start(self, connection: Connection, view: View) -> ConsoleUpdate:
        """Subscribe a connection to a view; returns its whole state."""
        connection.watches_drain = True
        connection.join(room_of(view))
        self._sent.pop(view, None)  # what earlier watchers got may be older than this state
        await self._count()
        return self._update(await self.sections.of_view(view), self.sampler.samples)

    async def run(self) -> NoReturn:
        """Background task: sends what has changed, and closes the consoles when a drain ends."""
        try:
            while True:
                draining = self.lifecycle.draining
                await self.sections.operations.changed.wait(
                    DRAIN_INTERVAL if draining else INTERVAL
                )
                await self.send_updates()
                if draining and self._drain_is_over():
                    self.close()
        finally:
            self.close()

    async def send_updates(self) -> None:
        """Send each watched view its changed sections."""
        watched: list[View] = [view for view in VIEWS if self.hub.members(room_of(view))]
        if not watched:
            return
        await self._count()
        samples = [one for one in self.sampler.samples if one.at > self._sampled_at]
        for view in watched:
            update = self._update(await self._changed(view), samples)
            event = ServerEvent("console_updated", update)
            # Not sent to the room: other instances and the replay buffer have no use for it.
            for connection in self.hub.members(room_of(view)):
                connection.send_event(event)
        if samples:
            self._sampled_at = samples[-1].at

    def close(self) -> None:
        """Close the sockets of all consoles."""
        for view in VIEWS:
            for connection in self.hub.members(room_of(view)):
                connection.close(CloseCode.GOING_AWAY, "drained")

    async def _changed(self, view: View) -> Mapping[Section, str]:
        now, sent = trio.current_time(), self._sent.setdefault(view, {})
        changed: dict[Section, str] = {}
        for section in SECTIONS[view]:
            due = self._rendered_at.get((view, section), -math.inf)
            due += REFRESH[section].total_seconds()
            if now < due or (self.lifecycle.draining and section != "drain"):
                continue
            self._rendered_at[view, section] = now
            html = await self.sections.render(section, view)
            if sent.get(section) != html:
                changed[section] = sent[section] = html
        return changed

    async def _count(self) -> None:
        now = trio.current_time()
        if now < self._counted_at + COUNTS_INTERVAL or self.lifecycle.draining:
            return
        self._counted_at = now
        try:
            waiting = await self.sections.operations.store.waiting()
        except AppError:
            self._counts = None
        else:
            self._counts = Counts(waiting.dead_letters, waiting.open_reports)

    def _update(
        self, sections: Mapping[Section, str], samples: Collection[Sample]
    ) -> ConsoleUpdate:
        return ConsoleUpdate(
            process=self.sections.operations.process_id,
            phase=self.lifecycle.phase.name.lower(),
            sections=dict(sections),
            samples=list(samples),
            counts=self._counts or UNSET,
        )

    def _drain_is_over(self) -> bool:
        now = trio.current_time()
        if self._close_at == math.inf:
            self._close_at = now + self.drain.notice + self.drain.timeout - CLOSE_MARGIN
        left = self.sections.units_left()
        return now >= self._close_at or not (left["request"] or left["socket"])
