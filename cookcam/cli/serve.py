"""`cookcam serve`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from cookcam.cli.common import ENV_FILE, config_of, environment
from cookcam.config import without_effect


@click.command()
@ENV_FILE
def serve(env_file: Path | None) -> None:
    """Serve the API until SIGTERM or SIGINT, then drain."""
    # Until the nursery tree runs, nothing is open: the signal ends the process, without traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(run_server_of(environment(env_file)))


def run_server_of(environ: Mapping[str, str], on_started: Callable[[], None] | None = None) -> int:
    """Serve with the configuration in `environ`; return the exit status. Blocks."""
    config = config_of(environ)  # before the imports: a mistake is reported at once
    from cookcam.app.process import run_server

    return run_server(config, without_effect(environ), on_started)
