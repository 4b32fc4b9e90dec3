"""Views of the console, and the events that update them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.operations.console.samples import Sample

View = Literal[
    "overview",
    "tasks",
    "webhooks",
    "reports",
    "reports/upheld",
    "reports/dismissed",
    "process",
]
Section = Literal[
    "health",
    "errors",
    "tasks",
    "webhooks",
    "notifications",
    "reports",
    "drain",
    "switches",
    "last_run",
    "audit",
]

VIEWS: Final[Sequence[View]] = get_args(View)
SECTIONS: Final[Mapping[View, Sequence[Section]]] = {
    "overview": ("health", "errors"),
    "tasks": ("tasks",),
    "webhooks": ("webhooks", "notifications"),
    "reports": ("reports",),
    "reports/upheld": ("reports",),
    "reports/dismissed": ("reports",),
    "process": ("drain", "switches", "last_run", "audit"),
}
"""The parts of each view that are rendered again when they change."""


class WatchConsole(Struct):
    view: View


class Counts(Struct, rename="camel"):
    """What waits for an operator."""

    dead_letters: int
    open_reports: int


class ConsoleUpdate(Struct, rename="camel"):
    """The state of one instance. `process` identifies it, `phase` is that of its run. `sections` is
    HTML by section, without those that have not changed. `samples` are new ones, oldest first.
    `counts` is absent while the database does not respond."""

    process: str
    phase: str
    sections: dict[Section, str]
    samples: list[Sample]
    counts: Counts | UnsetType = UNSET
