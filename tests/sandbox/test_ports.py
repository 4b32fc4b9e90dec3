from __future__ import annotations

import socket

from cookcam.sandbox.home import free_port


def test_a_port_is_kept_while_it_is_free_and_replaced_when_it_is_not():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port


def test_there_is_always_a_port():
    assert 0 < free_port() <= 65535
    assert 0 < free_port(70_000) <= 65535
