"""`cookcam check-env`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import evolve

from cookcam.cli.common import ENV_FILE, environment
from cookcam.config import load

if TYPE_CHECKING:
    from cookcam.cli.connection_checks import Connection


@click.command()
@ENV_FILE
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--connect", is_flag=True, help="Also log in to the database and every provider.")
def check_env(env_file: Path | None, as_json: bool, connect: bool) -> None:
    """Check the environment as `serve` does; values are never shown. Exit status 1 on mistakes.

    With --connect also 1 when the database or a provider cannot be used. Nothing is changed there.
    """
    from cookcam.cli.environment_report import check

    environ = environment(env_file)
    report = check(environ)
    if connect and not report.mistakes:
        report = evolve(report, connections=_try_connections(environ))
    click.echo(report.json() if as_json else report.text())
    if connect and report.mistakes:
        click.echo("nothing was connected to: correct the settings first", err=True)
    sys.exit(0 if report.good else 1)


def _try_connections(environ: Mapping[str, str]) -> list[Connection]:
    import structlog
    import trio

    from cookcam.cli.connection_checks import try_connections

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the output is the report
    return trio.run(try_connections, load(environ))
