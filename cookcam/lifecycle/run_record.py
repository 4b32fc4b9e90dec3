"""How the previous runs of this instance ended, in a file that outlives the process.

The file is written at the start, when the server accepts connections, and at the end. A file that
says `starting` or `serving` at the next start was left by a run that never reported its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast, get_args

import orjson
import structlog
from attrs import asdict, define, field

from cookcam.lifecycle.shutdown import DrainReport

Outcome = Literal["clean", "cut", "crashed", "failed_start"]
"""`cut`: the exit status was not 0, because something was cut or a core task failed. `crashed`:
the process was killed or died while it served."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

_LEFT_BEHIND: dict[str, Outcome] = {"starting": "failed_start", "serving": "crashed"}


@define
class RunRecord:
    """The record of one instance; `path` is None without STATE_DIRECTORY, then nothing is stored.

    `ended` counts the ended runs per outcome; `previous` is the outcome of the last one and
    `report` its drain report, both None where they are not known.
    """

    path: Path | None = None
    ended: dict[Outcome, int] = field(factory=lambda: dict.fromkeys(OUTCOMES, 0))
    previous: Outcome | None = None
    report: dict[str, Any] | None = None

    @classmethod
    def begin(cls, directory: str | None, port: int) -> RunRecord:
        """Read the record of the instance on `port`, and note that a run begins."""
        if directory is None:
            return cls()
        record = cls(Path(directory) / f"run-{port}.json")
        record._read()
        record._write("starting")
        return record

    def serving(self) -> None:
        """Note that the server accepts connections."""
        self._write("serving")

    def end(self, status: int, report: DrainReport | None) -> None:
        """Note the end of the run; `status` is the exit status."""
        self._write("clean" if status == 0 else "cut", report)

    def _read(self) -> None:
        assert self.path is not None  # noqa: S101 - `begin` has set it
        try:
            stored: Any = orjson.loads(self.path.read_bytes())
            state = stored["state"]
            ended: dict[Outcome, int] = {name: int(stored["ended"][name]) for name in OUTCOMES}
            outcome = _LEFT_BEHIND.get(state) or cast("Outcome", state)
            ended[outcome] += 1
            self.ended, self.previous, self.report = ended, outcome, stored["report"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            _warn("the record of the previous run cannot be read", error)

    def _write(self, state: str, report: DrainReport | None = None) -> None:
        if self.path is None:
            return
        content = {
            "state": state,
            "ended": self.ended,
            "report": None if report is None else asdict(report),
        }
        unfinished = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(orjson.dumps(content))
            unfinished.replace(self.path)
        except OSError as error:
            _warn("the record of this run cannot be written", error)


def _warn(message: str, error: Exception) -> None:
    structlog.get_logger("cookcam.lifecycle").warning(message, reason=type(error).__name__)
