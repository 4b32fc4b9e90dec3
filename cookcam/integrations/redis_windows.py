"""Sliding windows of rate limits in Redis, shared by all instances.

The algorithm is that of `cookcam.sliding_windows.Bucket`: counts per tenth of a window. A script
counts on the server, so a use is counted atomically and costs one round trip. The time is that of
Redis, so the clocks of the instances do not matter.

A Redis that does not respond within `TIMEOUT` is unavailable: the caller counts in its process.
After a few failures in a row the circuit opens and Redis is not called, so that a dead Redis costs
a request no time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field

from cookcam.errors import ServiceUnavailable
from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.sliding_windows import SLICES, Quota, WindowState

TIMEOUT: Final = 0.1
"""Seconds. A response takes well below 1 ms; the rest is for a busy event loop."""
CONNECT_TIMEOUT: Final = 2.0
"""Seconds for the connection at the start, which imports the library of Redis."""
RETRY_DELAY, MAX_RETRY_DELAY = 0.5, 5.0
"""Seconds until the first trial call to a failed Redis, and at most between two."""
MICROSECONDS: Final = 1_000_000

# KEYS: one window for each quota. ARGV: 1 to count a use or 0 to read, then for each quota its
# limit and the width of a slice in microseconds. Returns for each window examined: 1 if the use is
# allowed, the uses counted, and the microseconds until all and until one of them have expired.
# A window is the time of its first slice, the number of its newest one, the uses, and the count of
# slice k at index 4 + k % 10. It ends up empty, and expires, ten slices after its last use.
SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local result = {}
for i, key in ipairs(KEYS) do
  local limit, width = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local stored = redis.call('GET', key)
  local window = stored and cmsgpack.unpack(stored) or {now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
  local newest = math.max(window[2], math.floor((now - window[1]) / width))
  for k = window[2] + 1, math.min(newest, window[2] + 10) do
    window[3] = window[3] - window[4 + k % 10]
    window[4 + k % 10] = 0
  end
  window[2] = newest
  if window[3] == 0 then
    window = {now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
  end
  local function frees(excess)
    for k = math.max(0, window[2] - 9), window[2] do
      excess = excess - window[4 + k % 10]
      if excess <= 0 then
        return window[1] + (k + 10) * width - now
      end
    end
    return window[1] + (window[2] + 10) * width - now
  end
  local allowed = window[3] < limit
  if allowed and ARGV[1] == '1' then
    window[3] = window[3] + 1
    window[4 + window[2] % 10] = window[4 + window[2] % 10] + 1
    redis.call('SET', key, cmsgpack.pack(window), 'PX', math.ceil(10 * width / 1000))
  end
  result[#result + 1] = allowed and 1 or 0
  result[#result + 1] = window[3]
  result[#result + 1] = frees(window[3])
  result[#result + 1] = allowed and 0 or frees(window[3] - limit + 1)
  if not allowed then
    break
  end
end
return result
"""


class Redis(Protocol):
    """The part of `cookcam.integrations.redis.Redis` used here; all raise ServiceUnavailable."""

    async def ping(self) -> None: ...

    async def run_script(
        self, script: str, keys: Sequence[str], args: Sequence[int]
    ) -> Sequence[int]: ...

    async def delete(self, *keys: str) -> None: ...


@define(eq=False)
class RedisWindows:
    """The `SharedWindows` of `cookcam.sliding_windows` in one Redis.

    `count_fallback` is called for each use that could not be counted in Redis.
    """

    redis: Redis
    breaker: CircuitBreaker
    count_fallback: Callable[[], None]
    _available: bool = field(default=True, init=False)

    @property
    def available(self) -> bool:
        """Whether the last call succeeded."""
        return self._available

    async def connect(self) -> None:
        """Connect for at most `CONNECT_TIMEOUT` seconds, so that the first uses are shared."""
        # A failure is logged by the first use.
        with trio.move_on_after(CONNECT_TIMEOUT), suppress(ServiceUnavailable):
            await self.redis.ping()

    async def hit(
        self, key: str, quotas: Sequence[Quota], *, count: bool
    ) -> list[WindowState] | None:
        """Count one use in the window of each quota, up to the first that is used up.

        Returns the states of the windows examined, or None when Redis is unavailable.
        """
        digest = _digest(key)
        args = [int(count)]
        for quota in quotas:
            args += [quota.limit, round(quota.seconds * MICROSECONDS / SLICES)]
        values: Sequence[int] = ()
        names = [_name(digest, quota) for quota in quotas]
        with trio.move_on_after(TIMEOUT), suppress(ServiceUnavailable), self.breaker.attempt():
            values = await self.redis.run_script(SCRIPT, names, args)
        if not values:
            self._failed()
            return None
        if not self._available:
            self._available = True
            structlog.get_logger(__name__).info("rate limits are shared again")
        return [
            WindowState(bool(allowed), used, reset / MICROSECONDS, retry_after / MICROSECONDS)
            for allowed, used, reset, retry_after in zip(*[iter(values)] * 4, strict=True)
        ]

    async def forget(self, key: str, quota: Quota) -> None:
        """Reset a window; without effect when Redis is unavailable."""
        with trio.move_on_after(TIMEOUT), suppress(ServiceUnavailable), self.breaker.attempt():
            await self.redis.delete(_name(_digest(key), quota))

    def _failed(self) -> None:
        self.count_fallback()
        if self._available:
            self._available = False
            structlog.get_logger(__name__).warning(
                "redis is unavailable: each process counts rate limits for itself"
            )


def _digest(key: str) -> str:
    """Keys hold addresses of clients and of mailboxes, which do not belong in the names of keys."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _name(digest: str, quota: Quota) -> str:
    """The windows of one key are on one node of a cluster: the part in braces is equal."""
    return f"cookcam:quota:{{{digest}}}:{quota.name}:{quota.seconds:g}"
