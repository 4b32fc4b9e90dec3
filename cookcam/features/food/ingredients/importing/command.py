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
"""Maximum number of reasons that are printed with their counts."""


def run_import(url: str, path: Path) -> int:
    """Run the import and return the exit status.

    0: every usable row is stored; 1: the file or the database failed, or no row was usable;
    130: interrupted.
    """
    try:
        with _Bars() as bars:
            report = import_bundle(url, path, progress=bars.show)
    except (BundleError, psycopg.Error, ValueError) as error:
        click.echo(" ".join(str(error).split()), err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        return 130
    _print(report)
    for failure in report.failures:
        click.echo(f"{printable(path.name)}: {failure}", err=True)
    return 1 if report.failures else 0


def _print(report: ImportReport) -> None:
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
    """A progress bar per step; the next step closes it."""

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
