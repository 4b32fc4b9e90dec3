"""Figures of this instance, sampled once a second, for the charts of the console."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from attrs import define, field
from msgspec import Struct

from cookcam.database.pool_stats import PoolStats
from cookcam.lifecycle.background import run_periodically
from cookcam.observability.metrics import DURATION_BUCKETS, Metrics, value_of

INTERVAL: Final = 1.0
MAX_SAMPLES: Final = 300
"""Samples that are kept: five minutes."""


class Sample(Struct, rename="camel"):
    """One second: `requests` and `failed` (5xx) are per second, the percentiles of their durations
    and `loop_lag` (the maximum) in ms, the others counts at its end. `at` is Unix time in ms.

    A percentile is interpolated within the bounds of the metric, and 0 without a request.
    """

    at: int
    requests: float
    failed: float
    median: float
    p95: float
    loop_lag: float
    sockets: int
    in_flight: int
    queued: int
    pool_in_use: int
    pool_size: int


@define(eq=False)
class Sampler:
    """`connections` counts open sockets, `pool` returns the state of the connection pool."""

    metrics: Metrics
    connections: Callable[[], int]
    pool: Callable[[], PoolStats]
    clock: Callable[[], float] = time.time
    samples: deque[Sample] = field(factory=lambda: deque[Sample](maxlen=MAX_SAMPLES), init=False)
    _requests: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _durations: list[int] = field(factory=list[int], init=False)
    _loop_lag: float = field(default=0.0, init=False)
    _at: float = field(default=0.0, init=False)

    async def run(self) -> NoReturn:
        """Background task: a sample every INTERVAL seconds."""
        self._remember(self.clock())
        await run_periodically(self.sample, INTERVAL, spread=(1.0, 1.0))

    def observe_loop_lag(self, seconds: float) -> None:
        self.metrics.loop_lag_seconds.observe(seconds)
        self._loop_lag = max(self._loop_lag, seconds)

    async def sample(self) -> None:
        now, totals, pool = self.clock(), self.metrics.requests, self.pool()
        elapsed = max(now - self._at, 0.001)
        durations = [
            count - before for count, before in zip(totals.durations, self._durations, strict=True)
        ]
        self.samples.append(
            Sample(
                at=round(now * 1000),
                requests=round((totals.requests - self._requests) / elapsed, 1),
                failed=round((totals.failed - self._failed) / elapsed, 1),
                median=round(1000 * percentile(durations, 0.5), 1),
                p95=round(1000 * percentile(durations, 0.95), 1),
                loop_lag=round(1000 * self._loop_lag, 1),
                sockets=self.connections(),
                in_flight=int(value_of(self.metrics.http_requests_in_flight)),
                queued=int(value_of(self.metrics.http_requests_queued)),
                pool_in_use=pool.in_use,
                pool_size=pool.size,
            )
        )
        self._remember(now)

    def _remember(self, now: float) -> None:
        totals = self.metrics.requests
        self._at, self._loop_lag = now, 0.0
        self._requests, self._failed = totals.requests, totals.failed
        self._durations = list(totals.durations)


def percentile(counts: Sequence[int], share: float) -> float:
    """The duration in seconds below which `share` of the counted durations are; `counts` are those
    of DURATION_BUCKETS, the last above the highest bound, which is then the result."""
    rank, below = share * sum(counts), 0
    lower = 0.0
    for count, upper in zip(counts, DURATION_BUCKETS, strict=False):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below, lower = below + count, upper
    return lower if sum(counts) else 0.0
