"""The server process of `cookcam serve`: logging, signals, the port, the exit status."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import partial
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING

import structlog
import trio
from attrs import evolve

from cookcam.config import Config
from cookcam.lifecycle.control import control_path
from cookcam.lifecycle.run import run
from cookcam.lifecycle.run_record import RunRecord
from cookcam.lifecycle.shutdown import DrainReport, log_report
from cookcam.lifecycle.uptime import since_process_start
from cookcam.lifecycle.workers import STOP, WorkerChannel, stop_signals
from cookcam.observability.log_writers import RedactionCount
from cookcam.observability.logging import configure_logging, instance_fields
from cookcam.serving.listener import SocketListener
from cookcam.serving.server import protocol_config

if TYPE_CHECKING:
    from cookcam.observability.metrics import Metrics

FLUSH_SECONDS = 2.0
THREAD_SWITCH_INTERVAL = 0.0002
"""Seconds a thread may hold the interpreter while the event loop waits.

Threads import libraries and decode images; Python's default of 5 ms would delay each pass of the
event loop by that much.
"""

GC_THRESHOLD = 20_000
"""New objects that start a garbage collection. The objects of a request are freed without the
collector; with Python's default of 700 it runs about thirty times while the scheduler handles 64
requests, and takes 13% of the CPU under overload."""


def run_server(
    config: Config,
    ignored: Sequence[str] = (),
    on_started: Callable[[], None] | None = None,
    *,
    listener: int | None = None,
    channel: int | None = None,
) -> int:
    """Serve until a signal, then drain; return the exit status. Blocks.

    `ignored` are variables that are set and have no effect: they are logged once. `on_started` is
    called when the server accepts connections. `listener` and `channel` are the descriptors that a
    worker gets from its supervisor (`cookcam.lifecycle.workers`).
    """
    worker = None if channel is None else WorkerChannel(channel)
    if worker is not None:
        config = evolve(config, server=evolve(config.server, pm2_channel=channel))
    log_writer = configure_logging(
        config.environment, config.observability.log_level, instance=instance_fields(config)
    )
    log = structlog.get_logger("cookcam")
    log.info("Environment validation successful", **config.summary())
    if ignored:
        log.warning("these variables have no effect", variables=list(ignored))
    try:
        opened = open_listener(config, listener)
    except OSError as error:
        where = f"{config.server.host}:{config.server.port}"
        log.error("cannot listen", address=where, reason=error.strerror or str(error))
        return 1
    sys.setswitchinterval(THREAD_SWITCH_INTERVAL)
    # Workers share a port; a record is that of a single process.
    state_directory = config.server.state_directory if worker is None else None
    record = RunRecord.begin(state_directory, opened.port)
    status, report = trio.run(
        _serve, config, opened, on_started, worker, record, log_writer.redactions
    )
    record.end(status, report)
    log_writer.flush(FLUSH_SECONDS)
    # Without it the interpreter collects all imported objects at exit, which takes 0.2 s on an idle
    # machine and delays a rolling restart.
    gc.freeze()
    return status


def open_listener(config: Config, inherited: int | None = None) -> SocketListener:
    """Bind the configured port, unless its socket is inherited; `run` listens on it later.

    Raises OSError.
    """
    tls = protocol_config(
        keep_alive_seconds=config.server.keep_alive_seconds,
        tls_cert_file=config.server.tls_cert_file,
        tls_key_file=config.server.tls_key_file,
    ).create_ssl_context()
    if inherited is not None:
        return SocketListener.inherited(inherited, tls=tls)
    return SocketListener.bind(config.server.host, config.server.port, tls=tls)


async def _serve(
    config: Config,
    listener: SocketListener,
    on_started: Callable[[], None] | None,
    worker: WorkerChannel | None,
    record: RunRecord,
    redactions: RedactionCount,
) -> tuple[int, DrainReport | None]:
    log = structlog.get_logger("cookcam")

    def started(metrics: Metrics) -> None:
        from cookcam.app.reports import describe_run

        record.serving()
        describe_run(metrics, record)
        redactions.report = metrics.redacted_values_total.of("log").inc
        log.info(
            "CookCam API server started",
            port=listener.port,
            environment=config.environment,
            websocket="enabled" if config.realtime.enabled else "disabled",
            version=config.server.version,
            release=config.release,
            secondsSinceProcessStart=since_process_start(),
        )
        # Objects of the start live until the end: excluded from collections, which would otherwise
        # stop every request and socket for tens of milliseconds.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        if on_started is not None:
            on_started()

    # Imported here, so that a signal during the import is already handled.
    stops = (SIGTERM, SIGINT) if worker is None else (SIGTERM, SIGINT, STOP)
    with trio.open_signal_receiver(*stops) as received:
        from cookcam.app import open_program

        if worker is not None:
            worker.watch_supervisor()
        signals = received if worker is None else stop_signals(received)
        control = control_path(
            config.server.state_directory, listener.port, is_worker=worker is not None
        )
        status, report = await run(
            partial(
                open_program, config, [listener], on_ready=started, control=control, record=record
            ),
            config.drain,
            signals=signals,
        )
    if worker is None:
        log_report(status, report)
    elif report is not None:
        worker.send_report(report)
    return status, report
