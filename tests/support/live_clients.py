"""The running program with clients connected over Socket.IO or plain WebSockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import trio
from attrs import define, field, frozen
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url

from cookcam.sandbox.gotrue import Gotrue, User
from tests.features.conftest import AppUnderTest
from tests.identity.project import new_user, open_project
from tests.support.whole_server import ServerUnderTest, environment, whole_server

EVENT_TIMEOUT = 5.0

Payload = dict[str, Any]


@define(eq=False)
class LiveClient:
    """A connected device. Received events are kept until `expect` takes them."""

    user: User
    socket: WebSocketConnection
    plain: bool
    events: list[tuple[str, Any]] = field(factory=list)
    replies: dict[int, Any] = field(factory=dict)
    closed: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)
    _last_id: int = 0

    @property
    def id(self) -> str:
        return str(self.user.id)

    async def send(self, event: str, *payload: Any) -> None:
        if self.plain:
            frame = {"event": event, **({"data": payload[0]} if payload else {})}
            await self.socket.send_message(json.dumps(frame))
        else:
            await self.socket.send_message(f"42{json.dumps([event, *payload])}")

    async def expect(self, event: str) -> Any:
        """Waits for the next event of that name and returns its payload."""

        def received() -> bool:
            return any(name == event for name, _ in self.events)

        await self._until(received, event)
        index = next(i for i, (name, _) in enumerate(self.events) if name == event)
        return self.events.pop(index)[1]

    async def ask(self, event: str, *payload: Any) -> Any:
        """Sends an event and returns the reply: `{"ok": True}`, a result or an error."""
        self._last_id += 1
        number = self._last_id
        if self.plain:
            frame = {"event": event, "id": number, **({"data": payload[0]} if payload else {})}
            await self.socket.send_message(json.dumps(frame))
        else:
            await self.socket.send_message(f"42{number}{json.dumps([event, *payload])}")
        await self._until(lambda: number in self.replies, f"reply to {event}")
        return self.replies.pop(number)

    async def seen(self) -> list[str]:
        """The names of all events received up to now and not taken by `expect`.

        Without notifications of the inbox, which are sent some time after the fact.
        """
        await self.ask("leave_cooking_session", {"sessionId": "none"})
        return [name for name, _ in self.events if name != "user_notification"]

    async def seen_until_closed(self) -> list[str]:
        """Waits until the server closes the connection, then returns like `seen`."""
        await self.closed.wait()
        return [name for name, _ in self.events]

    async def read(self) -> None:
        try:
            while True:
                self._dispatch(await self.socket.get_message())
                self._changed.set()
                self._changed = trio.Event()
        except ConnectionClosed:
            self.closed.set()

    def _dispatch(self, text: Any) -> None:
        if self.plain:
            frame = json.loads(text)
            if "replyTo" in frame:
                self.replies[frame["replyTo"]] = frame["data"]
            else:
                self.events.append((frame["event"], frame["data"]))
        elif text.startswith("42"):
            self.events.append(tuple(json.loads(text[2:])))
        elif text.startswith("43"):
            number, reply = text[2:].split("[", 1)
            (self.replies[int(number)],) = json.loads(f"[{reply}")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(EVENT_TIMEOUT):
            while not condition():
                await self._changed.wait()
            return
        raise AssertionError(f"no {what}, but {self.events}")


@frozen
class LiveServer(AppUnderTest):
    """The running program; `connect` opens a client connection."""

    database_url: str
    gotrue: Gotrue
    server: ServerUnderTest
    nursery: trio.Nursery
    clients: list[LiveClient] = field(factory=list)

    async def person(self, name: str) -> User:
        return await new_user(self.gotrue, name)

    async def connect(self, who: User | str, *, plain: bool = False) -> LiveClient:
        """Connects a device of the given user, or of a new user with the given name."""
        user = await self.person(who) if isinstance(who, str) else who
        token = self.gotrue.issue_token(user)
        host = f"ws://127.0.0.1:{self.server.port}"
        if plain:
            headers = [(b"authorization", f"Bearer {token}".encode())]
            url = f"{host}/api/v1/realtime"
        else:
            headers, url = [], f"{host}/socket.io/?EIO=4&transport=websocket"
        socket = await connect_websocket_url(self.nursery, url, extra_headers=headers)
        client = LiveClient(user, socket, plain)
        if not plain:
            await socket.send_message(f"40{json.dumps({'token': token})}")
        self.clients.append(client)
        self.nursery.start_soon(client.read)
        await client.expect("connected")
        return client

    async def drop(self, client: LiveClient) -> None:
        """Disconnects the device; returns when the server has noticed."""
        before = await self.connections()
        await client.socket.aclose()
        with trio.fail_after(EVENT_TIMEOUT):
            while await self.connections() >= before:
                await trio.sleep(0.01)

    async def connections(self) -> int:
        return (await self.health())["connections"]

    async def health(self) -> Payload:
        return (await self.server.http.get(f"{self.server.url}/health")).json()["websocket"]

    async def recipe(self, author: User, steps: int = 4, **content: Any) -> str:
        token = self.gotrue.issue_token(author)
        response = await self.server.http.post(
            "/recipes",
            headers={"Authorization": f"Bearer {token}"},
            json={
                "title": f"Soup {uuid4()}",
                "instructions": [f"Step {number}" for number in range(steps)],
                "is_published": True,
                **content,
            },
        )
        assert response.status_code == 201, response.text
        return response.json()["id"]


@asynccontextmanager
async def open_live_server(database_url: str, **environ: str) -> AsyncIterator[LiveServer]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        yield await stack.enter_async_context(run_live_server(database_url, gotrue, **environ))


@asynccontextmanager
async def run_live_server(
    database_url: str, gotrue: Gotrue, **environ: str
) -> AsyncIterator[LiveServer]:
    """Runs the program against an existing identity project."""
    async with (
        whole_server(environment(database_url, gotrue, **environ)) as server,
        trio.open_nursery() as nursery,
    ):
        live = LiveServer(database_url, gotrue, server, nursery)
        yield live
        for client in live.clients:
            await client.socket.aclose()
        nursery.cancel_scope.cancel()


async def start_session(live: LiveServer, host: LiveClient, **options: Any) -> Payload:
    """Creates a session of four steps; returns `cooking_session_created`. `options` go into the
    event's payload."""
    recipe = await live.recipe(host.user)
    await host.send("create_cooking_session", {"recipeId": recipe, "title": "Tonight", **options})
    return await host.expect("cooking_session_created")


async def gather(live: LiveServer, *guests: str, plain: bool = False) -> tuple[Any, ...]:
    """A public session of Ann with guests; returns its id and each user's device, Ann's first."""
    ann = await live.connect("Ann")
    session_id = (await start_session(live, ann, isPublic=True))["session"]["id"]
    clients = [ann]
    for name in guests:
        guest = await live.connect(name, plain=plain)
        await guest.send("join_cooking_session", {"sessionId": session_id})
        await guest.expect("cooking_session_joined")
        for client in clients:
            await client.expect("user_joined_session")
        clients.append(guest)
    return session_id, *clients
