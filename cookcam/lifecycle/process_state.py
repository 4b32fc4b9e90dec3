"""The running process, as `cookcam tasks` and the operations console show it."""

from __future__ import annotations

import os
from typing import Any

from attrs import asdict, field, frozen

from cookcam.lifecycle.run_record import RunRecord
from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.tree import TaskAges, snapshot
from cookcam.lifecycle.uptime import since_process_start
from cookcam.lifecycle.work import Work


@frozen
class ProcessState:
    """`instance` is host and port. `record` says how the previous run ended, `ages` how old each
    task is."""

    instance: str
    release: str
    lifecycle: Lifecycle
    work: Work = field(factory=Work)
    record: RunRecord = field(factory=RunRecord)
    ages: TaskAges | None = None

    def describe(self) -> dict[str, Any]:
        """The control document: the process and its task tree, as plain data."""
        return {
            "instance": self.instance,
            "pid": os.getpid(),
            "release": self.release,
            "phase": self.lifecycle.phase.name.lower(),
            "uptime": since_process_start(),
            "tasks": asdict(snapshot(ages=self.ages)),
        }
