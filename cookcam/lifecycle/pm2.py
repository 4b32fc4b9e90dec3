"""Telling PM2 that the process accepts connections.

PM2 gives a forked child an IPC pipe as descriptor `NODE_CHANNEL_FD` and, with `wait_ready`, waits
for the JSON string "ready" on it before it stops the old process of a reload.
"""

from __future__ import annotations

import os


def announce_ready(channel: int | None) -> bool:
    """Writes `"ready"` to the IPC descriptor; False when there is none or nobody listens."""
    if channel is None:
        return False
    try:
        os.write(channel, b'"ready"\n')
    except OSError:
        return False
    return True
