"""`cookcam serve`."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from cookcam.cli.common import ENV_FILE, config_of, environment, fail
from cookcam.config import Config, without_effect

FLUSH_SECONDS = 2.0
"""Seconds in which the last log lines may be written."""


@click.command()
@ENV_FILE
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Serve with so many processes on one port; SIGHUP replaces them one after the other.",
)
@click.option("--listener", type=int, hidden=True, help="A worker's listening socket.")
@click.option("--channel", type=int, hidden=True, help="A worker's channel to its supervisor.")
def serve(
    env_file: Path | None, workers: int | None, listener: int | None, channel: int | None
) -> None:
    """Serve the API until SIGTERM or SIGINT, then drain."""
    # Until the nursery tree runs, nothing is open: the signal ends the process, without traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    environ = environment(env_file)
    if workers is not None:
        command = [sys.executable, "-m", "cookcam", "serve"]
        command += [] if env_file is None else ["--env-file", str(env_file)]
        sys.exit(run_workers(config_of(environ), command, workers))
    sys.exit(run_server_of(environ, listener=listener, channel=channel))


def run_server_of(
    environ: Mapping[str, str],
    on_started: Callable[[], None] | None = None,
    *,
    listener: int | None = None,
    channel: int | None = None,
) -> int:
    """Serve with the configuration in `environ`; return the exit status. Blocks.

    `listener` and `channel` are the descriptors that a worker gets from its supervisor.
    """
    config = config_of(environ)  # before the imports: a mistake is reported at once
    gc.disable()  # classes and functions are no garbage, and each collection visits all of them
    from cookcam.app.process import run_server

    gc.enable()
    return run_server(
        config, without_effect(environ), on_started, listener=listener, channel=channel
    )


def run_workers(config: Config, command: list[str], count: int) -> int:
    """Supervise `count` processes that `command` starts; return the exit status. Blocks."""
    import trio

    from cookcam.lifecycle.pm2 import announce_ready
    from cookcam.lifecycle.shutdown import log_report
    from cookcam.lifecycle.workers import Supervisor
    from cookcam.observability.logging import configure_logging, get_logger, instance_fields
    from cookcam.serving.listener import bind_shared

    if count > 1 and config.realtime.enabled and config.bus == "local":
        fail("--workers needs REALTIME_BUS to be postgres or redis: sockets are in all processes")
    log_writer = configure_logging(
        config.environment, config.observability.log_level, instance=instance_fields(config)
    )
    log = get_logger("cookcam")
    try:
        sockets = bind_shared(config.server.host, config.server.port, count)
    except OSError as error:
        where = f"{config.server.host}:{config.server.port}"
        log.error("cannot listen", address=where, reason=error.strerror or str(error))
        return 1

    def ready() -> None:
        announced = announce_ready(config.server.pm2_channel)
        log.info("all workers ready", workers=count, announced=announced)

    async def supervise() -> int:
        stops = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        with trio.open_signal_receiver(*stops) as signals:
            status, report = await Supervisor(command, sockets, ready).run(signals)
        log_report(status, report)
        return status

    status = trio.run(supervise)
    log_writer.flush(FLUSH_SECONDS)
    return status
