"""The uptime of this process, counted from its start rather than from the first import."""

from __future__ import annotations

import time
from pathlib import Path

_TICKS = 100  # USER_HZ, the unit of /proc/self/stat on every Linux port in use


def since_process_start() -> float | None:
    """Return the seconds since the kernel started this process; None without /proc."""
    try:
        # The name in field 2 may hold spaces and parentheses: count from the last one.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / _TICKS
        return round(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 3)
    except (OSError, ValueError, IndexError, AttributeError):
        return None
