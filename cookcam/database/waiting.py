"""psycopg's generators, driven by Trio.

psycopg writes everything that talks to the server as a generator that yields what it waits for and
is told what became ready. Whoever drives the generators decides how to wait; psycopg brings drivers
for threads and for asyncio, and this is one for Trio. Every wait is a checkpoint.
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

    The generator may have been begun and interrupted before. Raises psycopg's `_WaitTimeout` after
    `timeout` seconds, having looked at the socket once more; `OperationalError` when the socket is
    closed under it.
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
    """Run a generator that opens a socket, which may change on the way. Raises like `drive`."""
    with trio.move_on_after(timeout):
        try:
            fileno, state = next(gen)
            while True:
                fileno, state = gen.send(await _ready(fileno, state))
        except StopIteration as stop:
            return stop.value
    raise e._WaitTimeout("wait timeout expired")  # pyright: ignore[reportPrivateUsage]


def ready_now(fileno: int, state: Wait) -> int:
    """What of `state` the socket is ready for at this moment: a `Ready`, or 0 for nothing.

    A socket in error counts as ready for both: the next read or write finds out.
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
        return await _either(fileno)
    except (OSError, trio.ClosedResourceError) as error:
        raise e.OperationalError("connection socket closed") from error


async def _either(fileno: int) -> int:
    """Wait until the socket is readable, writable or both.

    It is writable nearly always when psycopg asks (a pipeline, a long message), so that is tried
    before two tasks are started to find out.
    """
    await trio.lowlevel.checkpoint()
    ready = ready_now(fileno, Wait.RW)
    if not ready:
        async with trio.open_nursery() as nursery:

            async def note(wait: Callable[[int], Coroutine[Any, Any, None]], found: int) -> None:
                nonlocal ready
                await wait(fileno)
                ready |= found
                nursery.cancel_scope.cancel()

            nursery.start_soon(note, trio.lowlevel.wait_readable, Ready.R)
            nursery.start_soon(note, trio.lowlevel.wait_writable, Ready.W)
    return ready
