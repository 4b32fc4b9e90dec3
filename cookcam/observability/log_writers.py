"""Non-blocking log writers: a stalled reader of the logs must not stop the server.

A line is written when the descriptor accepts it. The rest is buffered, up to a limit, and written
before later lines; above the limit whole lines are dropped and counted, and a line
with the count is written when the reader continues. Lines for a broken descriptor are discarded.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from typing import Protocol, TextIO

from attrs import define, field, frozen

# POSIX: when a pipe polls writable, this many bytes go in without waiting.
_CHUNK = select.PIPE_BUF


class LogWriter(Protocol):
    """Accepts whole lines, with newline. Called from any thread; never raises, never waits."""

    def write(self, line: bytes) -> None: ...

    def flush(self, seconds: float) -> None:
        """Waits at most `seconds` until buffered lines are written."""
        ...


@define(eq=False)
class DescriptorLogWriter:
    """Writes lines to a file descriptor, complete and in order.

    `lost_line` builds the line with the number of dropped lines; `capacity` is in bytes.
    """

    descriptor: int
    lost_line: Callable[[int], bytes]
    capacity: int = 1 << 20
    _pending: bytearray = field(init=False, factory=bytearray)
    _lost: int = field(init=False, default=0)
    _writing: bool = field(init=False, default=False)
    _lock: RLock = field(init=False, factory=RLock)
    _poll: select.poll = field(init=False, factory=select.poll)

    def __attrs_post_init__(self) -> None:
        self._poll.register(self.descriptor, select.POLLOUT)

    def write(self, line: bytes) -> None:
        with self._lock:
            self._keep(line)
            self._write_pending(deadline=0.0)

    def flush(self, seconds: float) -> None:
        with self._lock:
            self._write_pending(deadline=time.monotonic() + seconds)

    def _keep(self, line: bytes) -> None:
        if len(self._pending) + len(line) > self.capacity:
            self._lost += 1
        else:
            self._pending += line

    def _write_pending(self, deadline: float) -> None:
        if self._writing:  # a finaliser logs during the loop below, which will write the line
            return
        self._writing = True
        try:
            while self._pending:
                wait = max(0.0, deadline - time.monotonic()) if deadline else 0.0
                if not self._poll.poll(wait * 1000):
                    return
                written = os.write(self.descriptor, self._pending[:_CHUNK])
                del self._pending[:written]
                if not self._pending and self._lost:
                    lost, self._lost = self._lost, 0
                    self._keep(self.lost_line(lost))
        except BlockingIOError:
            return  # another process made the descriptor non-blocking: the next line tries again
        except OSError:
            self._pending.clear()
        finally:
            self._writing = False


@frozen
class StreamLogWriter:
    """Writes lines to a text stream: a terminal in a test, a file in memory."""

    stream: TextIO

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self.stream.write(line.decode())
            self.stream.flush()

    def flush(self, seconds: float) -> None: ...


@frozen
class NoLogWriter:
    """Discards lines, in a process without such a stream."""

    def write(self, line: bytes) -> None: ...

    def flush(self, seconds: float) -> None: ...


def _ignore(_count: int) -> None: ...


@define
class RedactionCount:
    """Where the number of redacted values of each line goes; the metrics are opened later."""

    report: Callable[[int], None] = _ignore


@define
class LevelLogger:
    """structlog's innermost logger: warnings and errors to `err`, the rest to `out`."""

    out: LogWriter
    err: LogWriter
    name: str = ""
    redactions: RedactionCount = field(factory=RedactionCount)

    def debug(self, line: bytes) -> None:
        self.out.write(line)

    def warning(self, line: bytes) -> None:
        self.err.write(line)

    info = debug
    error = critical = warning

    def flush(self, seconds: float) -> None:
        """Waits at most `seconds` for each stream until its buffered lines are written."""
        self.out.flush(seconds)
        if self.err is not self.out:
            self.err.flush(seconds)
