"""Reports to PM2 that the process accepts connections.

PM2 gives a forked child an IPC pipe as descriptor `NODE_CHANNEL_FD`. With `wait_ready`, it waits
for the JSON string "ready" on that pipe before it stops the old process of a reload.
"""

from __future__ import annotations

import os


def announce_ready(channel: int | None) -> bool:
    """Write `"ready"` to the IPC descriptor. Returns False without a descriptor or a reader."""
    if channel is None:
        return False
    try:
        os.write(channel, b'"ready"\n')
    except OSError:
        return False
    return True
