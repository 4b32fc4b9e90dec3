"""The process: logging, signals, the port, the exit status. `cookcam serve` is this."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from signal import SIGINT, SIGTERM

import structlog
import trio
from attrs import asdict

from cookcam.config import Config
from cookcam.lifecycle.run import run
from cookcam.lifecycle.shutdown import DrainReport
from cookcam.lifecycle.uptime import since_process_start
from cookcam.observability.logging import configure_logging, instance_fields
from cookcam.serving.listener import SocketListener
from cookcam.serving.server import protocol_config

FLUSH_SECONDS = 2.0
THREAD_TURN = 0.0002
"""Seconds a thread may keep the interpreter while the event loop waits for it. Threads load
libraries and decode pictures; with Python's 5 ms each turn of the loop would be so late meanwhile.
"""

GC_THRESHOLD = 20_000
"""Objects more than at the last collection that start the next one. The objects of a request are
freed without the collector; with Python's 700 it runs some thirty times in each pass of the
scheduler that handles 64 requests, and takes 13% of the processor under overload."""


def run_server(
    config: Config, ignored: Sequence[str] = (), on_started: Callable[[], None] | None = None
) -> int:
    """Serve until a signal, then drain; return the exit status. Blocks.

    `ignored` are variables that are set and have no effect: they are logged once. `on_started` is
    called when the server accepts connections.
    """
    log_writer = configure_logging(
        config.environment, config.observability.log_level, instance=instance_fields(config)
    )
    log = structlog.get_logger("cookcam")
    log.info("Environment validation successful", **config.summary())
    if ignored:
        log.warning("these variables have no effect", variables=list(ignored))
    try:
        door = open_listener(config)
    except OSError as error:
        where = f"{config.server.host}:{config.server.port}"
        log.error("cannot listen", address=where, reason=error.strerror or str(error))
        return 1
    sys.setswitchinterval(THREAD_TURN)
    status = trio.run(_serve, config, door, on_started)
    log_writer.flush(FLUSH_SECONDS)
    # Else the interpreter, on its way out, looks for garbage among all that was ever imported:
    # 0.2 s on an idle machine, for which a rolling restart would wait.
    gc.freeze()
    return status


def open_listener(config: Config) -> SocketListener:
    """Takes the port of the configuration; `run` listens on it later. Raises OSError."""
    tls = protocol_config(
        keep_alive_seconds=config.server.keep_alive_seconds,
        tls_cert_file=config.server.tls_cert_file,
        tls_key_file=config.server.tls_key_file,
    ).create_ssl_context()
    return SocketListener.bind(config.server.host, config.server.port, tls=tls)


async def _serve(
    config: Config, door: SocketListener, on_started: Callable[[], None] | None
) -> int:
    log = structlog.get_logger("cookcam")

    def started() -> None:
        log.info(
            "CookCam API server started",
            port=door.port,
            environment=config.environment,
            websocket="enabled" if config.realtime.enabled else "disabled",
            version=config.server.version,
            release=config.release,
            secondsSinceProcessStart=since_process_start(),
        )
        # What is there now stays, so the collector need not look at it again: each of its full
        # rounds would hold up every request and every socket for tens of milliseconds.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        if on_started is not None:
            on_started()

    # The parts are imported here: a signal during their import is already handled.
    with trio.open_signal_receiver(SIGTERM, SIGINT) as signals:
        from cookcam.app import open_program

        status, report = await run(
            partial(open_program, config, [door], on_ready=started),
            config.drain,
            signals=signals,
        )
    _log_end(status, report)
    return status


def _log_end(status: int, report: DrainReport | None) -> None:
    log = structlog.get_logger("cookcam")
    write = log.info if status == 0 else log.warning
    write("Graceful shutdown complete", status=status, **(asdict(report) if report else {}))
