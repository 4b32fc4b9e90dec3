"""A thousand clients that are idle, half-open or rejected, on real sockets and the real clock."""

from __future__ import annotations

import time
from itertools import cycle, islice
from pathlib import Path

import pytest
import trio

from cookcam.config.sections import DrainConfig
from cookcam.lifecycle.state import Phase
from cookcam.serving.states import CLOSING_TIMEOUT
from tests.serving.test_containment import GET
from tests.serving.test_states import CASES, stubborn_app
from tests.support.serving import our_server
from tests.support.socket_crowd import allow_descriptors
from tests.support.tls import make_certificate

PEERS = 1000
MAX_DRAIN_SECONDS = 1.0


@pytest.mark.parametrize("tls", [False, True])
async def test_a_thousand_silent_clients_do_not_delay_a_drain(tls: bool, tmp_path: Path) -> None:
    """The cases of test_states that wait for their peer. Over TLS no client completes a handshake,
    because a thousand handshakes on the same processor take long. The linger time is the default:
    it is for proxies, which these peers are not."""
    allow_descriptors(2 * PEERS + 200)
    kinds = [
        case.sent
        for case in CASES.values()
        if case.drain_seconds <= CLOSING_TIMEOUT and case.reads and case.tls is tls
    ]
    certificate = make_certificate(tmp_path) if tls else None
    with trio.fail_after(60):
        async with our_server(stubborn_app, certificate) as (port, server):
            streams = []
            for sent in islice(cycle(kinds), PEERS):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                streams.append(stream)
                if sent:
                    await stream.send_all(sent)
            if not tls:
                await trio.sleep(CLOSING_TIMEOUT + 0.5)
                # Rejected connections are closed already; the others wait for their deadlines.
                assert 0 < server.connections < PEERS
                async with await trio.open_tcp_stream("127.0.0.1", port) as another:
                    await another.send_all(GET)
                    assert (await another.receive_some()).startswith(b"HTTP/1.1 200")
            before = time.monotonic()
            server.lifecycle.enter(Phase.DRAINING)
            server.stop_accepting()
            await server.drain(DrainConfig().linger)
            assert time.monotonic() - before < MAX_DRAIN_SECONDS
            assert server.connections == 0
            for stream in streams:
                await stream.aclose()
