"""`cookcam sandbox`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from cookcam.cli.common import HOME, HOST, PORT


@click.command()
@HOST
@PORT
@HOME
@click.option("--attached", is_flag=True, hidden=True, help="Stop at the end of standard input.")
def sandbox(host: str, port: int, home: Path, attached: bool) -> None:
    """Run only the database and the providers' stub servers, for servers that are started apart."""
    import trio

    from cookcam.sandbox.command import run_sandbox

    def fail(line: str) -> None:
        click.echo(line, err=True)

    sys.exit(
        trio.run(
            partial(run_sandbox, home, host, port, attached=attached, say=click.echo, fail=fail)
        )
    )
