"""`cookcam reconcile`: one run in a process of its own, without a server.

It may be killed at any time: the next run, in any process, continues from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import structlog
import trio

from cookcam.config import Config
from cookcam.errors import AppError, ServiceUnavailable
from cookcam.features.billing.reconciliation.models import RunMetrics
from cookcam.features.billing.reconciliation.service import Reconciliation
from cookcam.observability.logging import configure_logging, instance_fields

OpenReconciliation: TypeAlias = Callable[[Config], AbstractAsyncContextManager[Reconciliation]]

FLUSH_TIMEOUT = 2.0


def run_reconcile(
    config: Config, open_reconciliation: OpenReconciliation, print_line: Callable[[str], None]
) -> int:
    """Returns the exit status: 0 for success, or when another process is running; 1 when the run
    failed or exceeded a threshold; 130 when interrupted."""
    logs = configure_logging(
        config.environment, config.observability.log_level, instance=instance_fields(config)
    )
    log = structlog.get_logger("cookcam.reconciliation")
    log.info("Starting scheduled reconciliation job...")
    try:
        metrics = trio.run(_run, config, open_reconciliation)
    except ServiceUnavailable as error:  # the database is unavailable: no traceback
        log.error("Scheduled reconciliation job failed", code=error.code, reason=error.message)
        return 1
    except AppError as error:
        log.error("Scheduled reconciliation job failed", code=error.code, exc_info=error)
        return 1
    except KeyboardInterrupt:
        log.warning("Scheduled reconciliation job interrupted; the next goes on from here")
        return 130
    else:
        if metrics is None:
            print_line("reconciliation is running elsewhere; nothing to do")
            return 0
        if metrics.cut_short:
            log.error("Scheduled reconciliation job was cut short")
        else:
            log.info("Scheduled reconciliation job completed successfully")
        print_line(summary(metrics))
        return 1 if metrics.alerts else 0
    finally:
        logs.flush(FLUSH_TIMEOUT)


def summary(metrics: RunMetrics) -> str:
    counted = (
        f"{metrics.total_checked} checked, {metrics.drift_detected} differed, "
        f"{metrics.updated_count} corrected, {metrics.expired_count} expired, "
        f"{metrics.errors_count} errors, {metrics.duration_ms / 1000:.1f} s"
    )
    return counted + (f"; {', '.join(metrics.alerts)}" if metrics.alerts else "")


async def _run(config: Config, open_reconciliation: OpenReconciliation) -> RunMetrics | None:
    async with open_reconciliation(config) as reconciliation:
        return await reconciliation.run()
