"""The live channel as a part of the program: opened, counted, closed."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from cookcam.lifecycle.state import Phase
from tests.support.asgi import request
from tests.support.realtime import SOCKETIO_PATH, ApiUser, open_live

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")


async def test_exception_of_the_block_is_raised_unchanged(autojump_clock):
    with pytest.raises(ZeroDivisionError):
        async with open_live():
            raise ZeroDivisionError


async def test_leaving_without_a_drain_cuts_the_sessions(autojump_clock):
    async with trio.open_nursery() as nursery:
        async with open_live() as live:
            ann = await nursery.start(held, live.plain(ANN))
            bob = await nursery.start(held, live.socketio(BOB))
        await bob.conversation.over.wait()  # Socket.IO's sessions belong to the server
        assert not ann.conversation.over.is_set()  # a plain one to its own request
        nursery.cancel_scope.cancel()


async def held(opened: Any, *, task_status: Any) -> None:
    async with opened as client:
        task_status.started(client)
        await trio.sleep_forever()


async def test_health_has_users_and_connections(autojump_clock):
    async with open_live() as live:
        realtime = live.realtime
        assert (realtime.connected_users(), realtime.connections()) == (0, 0)
        assert realtime.status == "active"
        async with live.plain(ANN), live.socketio(ANN), live.socketio(BOB):
            assert (realtime.connected_users(), realtime.connections()) == (2, 3)
            live.lifecycle.enter(Phase.NOTICE)
            assert realtime.status == "draining"


async def test_a_session_that_is_not_signed_in_is_no_connection(autojump_clock):
    async with open_live() as live, live.plain_socket(), live.socketio_session():
        await request(live.realtime, "GET", SOCKETIO_PATH, "EIO=4&transport=polling")
        assert live.realtime.connections() == 0
