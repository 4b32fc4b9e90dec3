"""The whole program with people in it who are connected live, over either protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import trio
from attrs import define, field, frozen
from psycopg import sql
from psycopg.rows import tuple_row
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url

from cookcam.database.connection import Connection
from cookcam.sandbox.gotrue import Gotrue, User
from tests.identity.project import new_user, open_project
from tests.support.postgres import as_owner
from tests.support.whole_server import WholeServer, environment, whole_server

PATIENCE = 5.0

Payload = dict[str, Any]


@define(eq=False)
class LiveClient:
    """A connected device. Events are kept until they are expected."""

    user: User
    socket: WebSocketConnection
    plain: bool
    events: list[tuple[str, Any]] = field(factory=list)
    answers: dict[int, Any] = field(factory=dict)
    closed: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)
    _asked: int = 0

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
        """The payload of the first event of that name that was not asked for before."""

        def found() -> bool:
            return any(name == event for name, _ in self.events)

        await self._until(found, event)
        index = next(i for i, (name, _) in enumerate(self.events) if name == event)
        return self.events.pop(index)[1]

    async def ask(self, event: str, *payload: Any) -> Any:
        """What the server answers: `{"ok": True}`, the answer's payload, or that of the error."""
        self._asked += 1
        number = self._asked
        if self.plain:
            frame = {"event": event, "id": number, **({"data": payload[0]} if payload else {})}
            await self.socket.send_message(json.dumps(frame))
        else:
            await self.socket.send_message(f"42{number}{json.dumps([event, *payload])}")
        await self._until(lambda: number in self.answers, f"answer to {event}")
        return self.answers.pop(number)

    async def seen(self) -> list[str]:
        """The names of all events that were sent to this device up to now, and not expected."""
        await self.ask("leave_cooking_session", {"sessionId": "none"})
        return [name for name, _ in self.events]

    async def seen_until_closed(self) -> list[str]:
        """As `seen`, of a device that the server closes."""
        await self.closed.wait()
        return [name for name, _ in self.events]

    async def read(self) -> None:
        try:
            while True:
                self._note(await self.socket.get_message())
                self._changed.set()
                self._changed = trio.Event()
        except ConnectionClosed:
            self.closed.set()

    def _note(self, text: Any) -> None:
        if self.plain:
            frame = json.loads(text)
            if "replyTo" in frame:
                self.answers[frame["replyTo"]] = frame["data"]
            else:
                self.events.append((frame["event"], frame["data"]))
        elif text.startswith("42"):
            self.events.append(tuple(json.loads(text[2:])))
        elif text.startswith("43"):
            number, answer = text[2:].split("[", 1)
            (self.answers[int(number)],) = json.loads(f"[{answer}")

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(PATIENCE):
            while not holds():
                await self._changed.wait()
            return
        raise AssertionError(f"no {what}, but {self.events}")


@frozen
class Kitchen:
    """The running program; people come in through `connect`."""

    database_url: str
    gotrue: Gotrue
    server: WholeServer
    nursery: trio.Nursery
    clients: list[LiveClient] = field(factory=list)

    async def person(self, name: str) -> User:
        return await new_user(self.gotrue, name)

    async def connect(self, who: User | str, *, plain: bool = False) -> LiveClient:
        """Another device of somebody, or the first of somebody new."""
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
        """The device goes away; returns when the server has noticed."""
        before = await self.connections()
        await client.socket.aclose()
        with trio.fail_after(PATIENCE):
            while await self.connections() >= before:
                await trio.sleep(0.01)

    async def connections(self) -> int:
        return (await self.health())["connections"]

    async def health(self) -> Payload:
        return (await self.server.http.get(f"{self.server.url}/health")).json()["websocket"]

    async def recipe(self, author: User, steps: int = 4, **content: Any) -> str:
        token = self.gotrue.issue_token(author)
        answer = await self.server.http.post(
            "/recipes",
            headers={"Authorization": f"Bearer {token}"},
            json={
                "title": f"Soup {uuid4()}",
                "instructions": [f"Step {number}" for number in range(steps)],
                "is_published": True,
                **content,
            },
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def sql(self, statement: str, **params: Any) -> list[Any]:
        """A statement as the owner of the database, to arrange or to look."""
        url = as_owner(self.database_url)
        async with await Connection.connect(url, autocommit=True) as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(sql.SQL(statement), params)
            return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def open_kitchen(database_url: str, **environ: str) -> AsyncIterator[Kitchen]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        yield await stack.enter_async_context(kitchen_of(database_url, gotrue, **environ))


@asynccontextmanager
async def kitchen_of(database_url: str, gotrue: Gotrue, **environ: str) -> AsyncIterator[Kitchen]:
    """A run of the program for a project that stays."""
    async with (
        whole_server(environment(database_url, gotrue, **environ)) as server,
        trio.open_nursery() as nursery,
    ):
        kitchen = Kitchen(database_url, gotrue, server, nursery)
        yield kitchen
        for client in kitchen.clients:
            await client.socket.aclose()
        nursery.cancel_scope.cancel()


async def start_session(kitchen: Kitchen, host: LiveClient, **options: Any) -> Payload:
    """A new cooking session of four steps; what the host is told. `options` are of the event."""
    recipe = await kitchen.recipe(host.user)
    await host.send("create_cooking_session", {"recipeId": recipe, "title": "Tonight", **options})
    return await host.expect("cooking_session_created")


async def gather(kitchen: Kitchen, *guests: str, plain: bool = False) -> tuple[Any, ...]:
    """A public session of Ann with guests: its id, and the device of each, Ann's first."""
    ann = await kitchen.connect("Ann")
    session_id = (await start_session(kitchen, ann, isPublic=True))["session"]["id"]
    clients = [ann]
    for name in guests:
        guest = await kitchen.connect(name, plain=plain)
        await guest.send("join_cooking_session", {"sessionId": session_id})
        await guest.expect("cooking_session_joined")
        for client in clients:
            await client.expect("user_joined_session")
        clients.append(guest)
    return session_id, *clients
