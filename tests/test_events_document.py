"""docs/events.md agrees with what the program declares and with what it sends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import trio

from cookcam.app.events_document import SERVER_EVENTS, events_document
from cookcam.lifecycle.state import Phase
from tests.support.realtime import ApiUser, open_live

REPOSITORY = Path(__file__).parents[1]
OF_THE_PLAIN_PROTOCOL = {"pong", "ack", "connect_error"}
A_SEND = re.compile(
    r"""(?:send_to_user|send_to_room|broadcast|\.send|\bEventResponse|\bServerEvent)\("""
    r"""(?:\s*[\w.]+\s*,)?\s*"([a-z_]+)\"""",
)


async def test_page_is_what_the_program_declares():
    page = (REPOSITORY / "docs" / "events.md").read_text()
    assert page == await events_document(), (
        "run python -m cookcam.app.events_document docs/events.md"
    )


def test_every_event_that_is_sent_is_on_the_page():
    sent: set[str] = set()
    for path in (REPOSITORY / "cookcam").rglob("*.py"):
        if "sandbox" not in path.parts and "serving" not in path.parts:
            sent.update(A_SEND.findall(path.read_text()))
    sent -= {"timer_started"} | OF_THE_PLAIN_PROTOCOL  # the first is an example in a docstring
    assert sent == SERVER_EVENTS.keys()


def check(event: str, data: Any) -> None:
    """The payload has the fields of its declaration and no others."""
    declared = SERVER_EVENTS[event].payload
    model = msgspec.convert(data, declared)
    fields = {field.encode_name for field in msgspec.structs.fields(declared)}
    assert data.keys() <= fields
    assert msgspec.to_builtins(model).keys() == data.keys()


async def test_payloads_of_the_channel_itself_are_as_declared(autojump_clock):
    ann = ApiUser()
    async with open_live() as live, live.plain_socket() as client:
        await client.send("authenticate", {"token": live.token(ann, lifetime=90)}, id=1)
        check("connected", await client.expect("connected"))
        check("authenticated", await client.expect("authenticated"))
        await client.send("join", {"room": "", "text": 1})
        check("error", await client.expect("error"))
        await trio.sleep(40)
        check("token_expiring", await client.expect("token_expiring"))
        live.lifecycle.enter(Phase.NOTICE)
        await live.realtime.notice()
        check("server_shutdown", await client.expect("server_shutdown"))
