"""Registry of the running units of work, so that a drain can count them and name those it cuts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from attrs import define, field


@define(eq=False)
class Unit:
    """One piece of work with an end: a request, a socket, the current unit of a job."""

    kind: str
    name: str


@define
class Work:
    """The running units, in the order they began.

    `finished` and `cut` count per kind once `start_counting` has been called.
    """

    _running: dict[Unit, None] = field(factory=dict[Unit, None], init=False)
    finished: Counter[str] = field(factory=Counter[str], init=False)
    cut: Counter[str] = field(factory=Counter[str], init=False)
    cut_names: list[str] = field(factory=list[str], init=False)
    _counting: bool = field(default=False, init=False)

    def begin(self, kind: str, name: str) -> Unit:
        """Register a unit. The caller calls `end` in a finally block."""
        unit = Unit(kind, name)
        self._running[unit] = None
        return unit

    def end(self, unit: Unit) -> None:
        """Remove the unit. A unit that was recorded as cut stays counted as cut."""
        if self._running.pop(unit, unit) is None and self._counting:
            self.finished[unit.kind] += 1

    @contextmanager
    def unit(self, kind: str, name: str) -> Generator[Unit]:
        unit = self.begin(kind, name)
        try:
            yield unit
        finally:
            self.end(unit)

    def count(self, kind: str) -> int:
        return sum(unit.kind == kind for unit in self._running)

    def counts(self) -> Counter[str]:
        """The running units by kind."""
        return Counter(unit.kind for unit in self._running)

    def start_counting(self) -> None:
        self._counting = True

    def mark_running_as_cut(self) -> None:
        """Record all running units as cut, by name and count, before they are cancelled."""
        for unit in self._running:
            self.cut[unit.kind] += 1
            self.cut_names.append(f"{unit.kind} {unit.name}")
        self._running.clear()
