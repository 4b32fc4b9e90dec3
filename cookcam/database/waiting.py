"""Drives psycopg's generators with Trio.

psycopg implements its protocol code as generators that yield the socket state they wait for and
are sent the state that became ready. psycopg has drivers for threads and for asyncio; this is the
driver for Trio. Every wait is a checkpoint.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Coroutine
from typing import Any

import trio
from psycopg import errors as e
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.waiting import Ready, Wait


async def drive(gen: PQGen[RV], fileno: int, timeout: float | None = None) -> RV:
    """Run a generator of an open connection to its end.

    The generator may have been started and interrupted before. Raises psycopg's `_WaitTimeout`
    after `timeout` seconds and one last check of the socket; `OperationalError` when the socket is
    closed during the wait.
    """
    if timeout is None:
        return await _run(gen, fileno)
    with trio.move_on_after(timeout):
        return await _run(gen, fileno)
    try:
        gen.send(ready_now(fileno, next(gen)))
    except StopIteration as stop:
        return stop.value
    raise e._WaitTimeout("wait timeout expired")  # pyright: ignore[reportPrivateUsage]


async def drive_connecting(gen: PQGenConn[RV], timeout: float) -> RV:
    """Run a generator that opens sockets; each step may use another. Raises like `drive`."""
    with trio.move_on_after(timeout):
        try:
            fileno, state = next(gen)
            while True:
                fileno, state = gen.send(await _ready(fileno, state))
        except StopIteration as stop:
            return stop.value
    raise e._WaitTimeout("wait timeout expired")  # pyright: ignore[reportPrivateUsage]


def ready_now(fileno: int, state: Wait) -> int:
    """Return which part of `state` the socket is ready for now: a `Ready`, or 0.

    A socket in error counts as ready for both: the next read or write reports the error.
    """
    poll = select.poll()
    poll.register(fileno, select.POLLIN | select.POLLOUT)
    ready = 0
    for _, event in poll.poll(0):
        broken = event & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        if event & select.POLLIN or broken:
            ready |= Ready.R
        if event & select.POLLOUT or broken:
            ready |= Ready.W
    return ready & state


async def _run(gen: PQGen[RV], fileno: int) -> RV:
    try:
        state = next(gen)
        while True:
            state = gen.send(await _ready(fileno, state))
    except StopIteration as stop:
        return stop.value


async def _ready(fileno: int, state: Wait) -> int:
    try:
        if state == Wait.R:
            await trio.lowlevel.wait_readable(fileno)
            return Ready.R
        if state == Wait.W:
            await trio.lowlevel.wait_writable(fileno)
            return Ready.W
        return await _wait_readable_or_writable(fileno)
    except (OSError, trio.ClosedResourceError) as error:
        raise e.OperationalError("connection socket closed") from error


async def _wait_readable_or_writable(fileno: int) -> int:
    """Wait until the socket is readable, writable or both.

    The socket is nearly always writable when psycopg waits for both (a pipeline, a long message),
    so this polls once before it starts two tasks.
    """
    await trio.lowlevel.checkpoint()
    ready = ready_now(fileno, Wait.RW)
    if not ready:
        async with trio.open_nursery() as nursery:

            async def mark(wait: Callable[[int], Coroutine[Any, Any, None]], flag: int) -> None:
                nonlocal ready
                await wait(fileno)
                ready |= flag
                nursery.cancel_scope.cancel()

            nursery.start_soon(mark, trio.lowlevel.wait_readable, Ready.R)
            nursery.start_soon(mark, trio.lowlevel.wait_writable, Ready.W)
    return ready
