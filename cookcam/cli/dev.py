"""`cookcam dev`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cookcam.cli.common import HOME, HOST, PORT, environment, fail
from cookcam.cli.serve import run_server_of


@click.command()
@HOST
@PORT
@HOME
def dev(host: str, port: int, home: Path) -> None:
    """Serve the API on the embedded default: no account and no settings are needed."""
    environ = environment(None)
    if environ.get("APP_ENV") in ("staging", "production"):
        fail("cookcam dev is for development: it refuses to run in staging or production")
    from cookcam.sandbox.dev import run_dev
    from cookcam.sandbox.home import SandboxError

    try:
        status = run_dev(
            home, host, port, {**environ, "HOST": host}, serve=run_server_of, say=click.echo
        )
    except SandboxError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status)
