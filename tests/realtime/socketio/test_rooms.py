from __future__ import annotations

from typing import Any

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cookcam.realtime.socketio import Namespace, SocketServer
from tests.realtime.socketio.client import Client, connected


async def received_frames(client: Client) -> list[str]:
    """What came before an answer that was asked for now."""
    await client.send("40/unknown,")
    frames: list[str] = []
    while not (frame := str(await client.receive())).startswith("44/unknown,"):
        frames.append(frame)
    return frames


async def test_broadcast_reaches_each_receiver_once(autojump_clock):
    server = SocketServer()
    async with (
        server,
        connected(server) as ann,
        connected(server) as bob,
        connected(server) as cat,
    ):
        a, b, c = server.sockets
        for socket, room in ((a, "soup"), (b, "soup"), (b, "cake"), (c, "cake")):
            socket.join(room)
        main = server.main
        assert main.emit("all") == 3
        assert main.emit("soup", to="soup") == 2
        assert main.emit("both", to=["soup", "cake"]) == 3
        assert main.emit("others", to="soup", skip=[a.id]) == 1
        assert main.emit("no cake", skip="cake") == 1
        assert main.emit("cat", to=c.id) == 1
        assert main.emit("nobody", to="unknown") == 0
        b.leave("cake")
        assert main.emit("cake", to="cake") == 1
        assert a.rooms == {"soup"}

        def names(frames: list[str]) -> list[str]:
            return [frame[4:-2] for frame in frames]

        assert names(await received_frames(ann)) == ["all", "soup", "both", "no cake"]
        assert names(await received_frames(bob)) == ["all", "soup", "both", "others"]
        assert names(await received_frames(cat)) == ["all", "both", "cat", "cake"]


async def test_a_broadcast_is_encoded_once(autojump_clock):
    server = SocketServer()
    async with server, connected(server) as ann, connected(server) as bob:
        message = server.main.encode("x", {"n": 1}, b"bytes")
        assert all(socket.send(message) for socket in server.sockets)
        assert all(socket.session.outbox.take() is message for socket in server.sockets)
        assert all(socket.send(message) for socket in server.sockets)
        for client in (ann, bob):
            assert await client.receive() == '451-["x",{"n":1},{"_placeholder":true,"num":0}]'
            assert await client.receive() == b"bytes"


@define(eq=False)
class Member:
    id: str
    rooms: set[str] = field(factory=set)


class RoomsAgainstAModel(RuleBasedStateMachine):
    """The index agrees with a list of memberships."""

    def __init__(self) -> None:
        super().__init__()
        self.rooms: Any = Namespace("/")
        self.here: dict[str, Member] = {}
        self.model: set[tuple[str, str]] = set()

    names = st.sampled_from(["a", "b", "c"])
    kinds = st.sampled_from(["soup", "cake", "tea"])

    @rule(name=names)
    def arrive(self, name: str) -> None:
        if name not in self.here:
            self.here[name] = Member(name)
            self.rooms.add(self.here[name])

    @rule(name=names, room=kinds)
    def join(self, name: str, room: str) -> None:
        if name in self.here:
            self.rooms.join(self.here[name], room)
            self.model.add((name, room))

    @rule(name=names, room=kinds)
    def leave(self, name: str, room: str) -> None:
        if name in self.here:
            self.rooms.leave(self.here[name], room)
            self.model.discard((name, room))

    @rule(name=names)
    def depart(self, name: str) -> None:
        if name in self.here:
            self.rooms.remove(self.here.pop(name))
            self.model = {pair for pair in self.model if pair[0] != name}

    @rule(to=st.none() | st.lists(kinds | names), skip=st.lists(kinds | names))
    def select(self, to: list[str] | None, skip: list[str]) -> None:
        def inside(name: str, rooms: list[str]) -> bool:
            return name in rooms or any((name, room) in self.model for room in rooms)

        selected = [member.id for member in self.rooms.select(to, skip)]
        assert sorted(selected) == sorted(
            name
            for name in self.here
            if (to is None or inside(name, to)) and not inside(name, skip)
        )

    @invariant()
    def index_matches_the_model(self) -> None:
        for room in ("soup", "cake", "tea"):
            members = {member.id for member in self.rooms.members(room)}
            assert members == {name for name, joined in self.model if joined == room}


TestRoomsAgainstAModel = RoomsAgainstAModel.TestCase
TestRoomsAgainstAModel.settings = settings(max_examples=50, stateful_step_count=30)
