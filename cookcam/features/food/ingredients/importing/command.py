"""`cookcam usda import`: the import with a progress bar on the terminal."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import psycopg
from attrs import define, field

from cookcam.features.food.ingredients.importing.bundles import BundleError, printable
from cookcam.features.food.ingredients.importing.loading import ImportReport, import_bundle

MAX_REASONS = 20
"""Reasons printed with their counts."""


def run_import(url: str, path: Path) -> int:
    """The exit status: 0 when everything usable is in, 1 when the file or the database failed or
    nothing usable was read, 130 when interrupted."""
    try:
        with _Bars() as bars:
            report = import_bundle(url, path, progress=bars.show)
    except (BundleError, psycopg.Error, ValueError) as error:
        click.echo(" ".join(str(error).split()), err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        return 130
    _tell(report)
    for failure in report.failures:
        click.echo(f"{printable(path.name)}: {failure}", err=True)
    return 1 if report.failures else 0


def _tell(report: ImportReport) -> None:
    for problem in report.problems:
        click.echo(f"skipped {problem}", err=True)
    if report.bad_rows > len(report.problems):
        click.echo(f"skipped {report.bad_rows - len(report.problems)} more; altogether:", err=True)
        for reason, count in report.reasons.most_common(MAX_REASONS):
            click.echo(f"skipped {count} times {reason}", err=True)
    for what, count in report.skipped.items():
        if count:
            click.echo(f"skipped {count} {what}", err=True)
    went_on = " (went on from an interrupted run)" if report.resumed else ""
    click.echo(
        f"{report.foods} foods written, {report.added} of them new, "
        f"{report.bad_rows} rows skipped{went_on}"
    )


@define
class _Bars:
    """One bar for each step, closed when the next begins."""

    _stack: ExitStack = field(factory=ExitStack)
    _step: str = ""
    _done: int = 0
    _bar: Any = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, step: str, done: int, of: int) -> None:
        if step != self._step:
            self._stack.close()
            self._step, self._done = step, 0
            self._bar = self._stack.enter_context(
                click.progressbar(length=max(1, of), label=f"{step:<20}")
            )
        self._bar.update(done - self._done)
        self._done = done
