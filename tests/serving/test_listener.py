"""Sockets of `serve` and `serve --workers` on one port."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cookcam.serving.listener import SocketListener, bind_shared

HOST = "127.0.0.1"


def bind_one(port: int) -> list[socket.socket]:
    return [SocketListener.bind(HOST, port).listener]


def bind_workers(port: int) -> list[socket.socket]:
    return bind_shared(HOST, port, 2)


BINDINGS = {"serve": bind_one, "workers": bind_workers}
Bind = Callable[[int], list[socket.socket]]


@pytest.fixture(params=BINDINGS)
def first(request: pytest.FixtureRequest) -> Bind:
    return BINDINGS[request.param]


@pytest.fixture(params=BINDINGS)
def second(request: pytest.FixtureRequest) -> Bind:
    return BINDINGS[request.param]


def bound(stack: ExitStack, bind: Bind, port: int = 0) -> list[socket.socket]:
    """Listening sockets, closed at the end of `stack`."""
    sockets = [stack.enter_context(one) for one in bind(port)]
    for one in sockets:
        one.setblocking(True)
        one.listen()
    return sockets


def leave_time_wait(sockets: list[socket.socket]) -> None:
    """Has the server's side close a connection to each socket: its side stays in TIME_WAIT."""
    served: set[socket.socket] = set()
    for one in sockets:
        one.settimeout(0.05)
    while len(served) < len(sockets):
        with socket.create_connection(sockets[0].getsockname()) as client:
            for one in sockets:
                try:
                    one.accept()[0].close()
                except TimeoutError:
                    continue
                served.add(one)
            assert client.recv(1) == b""


def test_port_is_bound_again_right_after_a_drain(first: Bind, second: Bind) -> None:
    with ExitStack() as stack:
        sockets = bound(stack, first)
        port = sockets[0].getsockname()[1]
        leave_time_wait(sockets)
    with ExitStack() as stack:
        bound(stack, second, port)


def test_port_of_another_listening_program_is_rejected(first: Bind, second: Bind) -> None:
    with ExitStack() as stack:
        port = bound(stack, first)[0].getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"):
            bound(stack, second, port)
