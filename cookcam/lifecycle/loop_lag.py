"""Measures how late the event loop runs a timer: the delay that every task sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import trio

INTERVAL = 0.25
"""Seconds between two measurements."""


async def measure_loop_lag(observe: Callable[[float], object]) -> NoReturn:
    """Background task: pass the lag in seconds to `observe`, four times a second."""
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        observe(max(0.0, trio.current_time() - due))
