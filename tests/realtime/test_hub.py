"""Presence, rooms and delivery, with connections that record events."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID, uuid4

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cookcam.identity import Identity
from cookcam.realtime.connection import CloseCode, Connection, display_name
from cookcam.realtime.hub import Hub
from cookcam.realtime.server_events import ServerEvent

ANN, BOB = uuid4(), uuid4()


@define(eq=False)
class Noted(Connection):
    """A connection without a client. It accepts at most `room_for` events."""

    protocol: ClassVar[str] = "noted"
    taken: list[ServerEvent] = field(factory=list)
    closed: list[CloseCode] = field(factory=list)
    room_for: int = 1000

    def deliver(self, announcement: ServerEvent) -> bool:
        if self.closed:
            return False
        if len(self.taken) == self.room_for:
            self.close(CloseCode.TOO_SLOW, "slow consumer")
            return False
        self.taken.append(announcement)
        return True

    def _close(self, code: CloseCode, reason: str) -> None:
        self.closed.append(code)

    @property
    def events(self) -> list[str]:
        return [announcement.event for announcement in self.taken]


def connected(hub: Hub, user: UUID = ANN, **options: int) -> Noted:
    connection = Noted(uuid4().hex, Identity(user), hub, address="192.0.2.1", **options)
    hub.add(connection)
    return connection


def test_user_is_present_until_the_last_connection_ends():
    hub = Hub(5)
    phone, tablet = connected(hub), connected(hub)
    assert (hub.connected_users(), hub.connection_count()) == (1, 2)
    hub.remove(phone)
    assert (hub.connected_users(), hub.connection_count()) == (1, 1)
    assert hub.send_to_user(ANN, "x", {}) == 1
    assert (phone.events, tablet.events) == ([], ["x"])
    hub.remove(tablet)
    hub.remove(tablet)
    assert (hub.connected_users(), hub.connection_count()) == (0, 0)
    assert hub.send_to_user(ANN, "x", {}) == 0


def test_the_oldest_connection_gives_way_to_one_too_many():
    hub = Hub(2)
    first, second, other = connected(hub), connected(hub), connected(hub, BOB)
    third = connected(hub)
    assert (first.closed, second.closed, other.closed) == ([CloseCode.REPLACED], [], [])
    assert hub.connections_of(ANN) == (second, third)


def test_room_receives_events_in_order_and_the_sender_can_be_skipped():
    hub = Hub(5)
    ann, bob, outside = connected(hub), connected(hub, BOB), connected(hub)
    ann.join("kitchen")
    bob.join("kitchen")
    ann.join("kitchen")
    assert hub.send_to_room("kitchen", "one", {}) == 2
    assert hub.send_to_room("kitchen", "two", {}, skip=ann) == 1
    bob.leave("kitchen")
    bob.leave("nowhere")
    assert hub.send_to_room("kitchen", "three", {}) == 1
    assert hub.send_to_room("nowhere", "four", {}) == 0
    assert (ann.events, bob.events, outside.events) == (["one", "three"], ["one", "two"], [])


def test_a_connection_that_has_ended_is_in_no_room_and_joins_none():
    hub = Hub(5)
    ann = connected(hub)
    ann.join("kitchen")
    ann.close(CloseCode.TOKEN, "token expired")
    ann.join("pantry")
    ann.leave("kitchen")
    assert ann.closed == [CloseCode.TOKEN]
    assert not hub.members("kitchen")
    assert not hub.members("pantry")
    assert ann.rooms == {"kitchen"}  # still names the former rooms


def test_broadcast_can_exclude_a_user_and_is_encoded_once():
    hub = Hub(5)
    ann, tablet, bob = connected(hub), connected(hub), connected(hub, BOB)
    assert hub.broadcast("one", {"a": 1}) == 3
    assert hub.broadcast("two", {}, [ANN], volatile=True) == 1
    assert hub.broadcast("three", {}, [uuid4()]) == 3
    assert (ann.events, bob.events) == (["one", "three"], ["one", "two", "three"])
    assert ann.taken[0] is tablet.taken[0] is bob.taken[0]
    assert ann.taken[0].plain is ann.taken[0].plain
    assert ann.taken[0].socketio is ann.taken[0].socketio
    assert bob.taken[1].socketio.volatile


def test_receiver_that_ends_during_a_broadcast_does_not_affect_others():
    hub = Hub(5)
    before, slow, after = connected(hub), connected(hub, BOB, room_for=0), connected(hub)
    for connection in (before, slow, after):
        connection.join("kitchen")
    assert hub.broadcast("x", {}) == 2
    assert hub.send_to_room("kitchen", "y", {}) == 2
    assert hub.connection_count() == 2
    assert before.events == after.events == ["x", "y"]


def test_all_connections_of_a_user_can_be_ended():
    hub = Hub(5)
    phone, tablet, bob = connected(hub), connected(hub), connected(hub, BOB)
    assert hub.close_user(ANN, CloseCode.FORBIDDEN, "account disabled") == 2
    assert hub.close_user(ANN, CloseCode.FORBIDDEN, "account disabled") == 0
    assert phone.closed == tablet.closed == [CloseCode.FORBIDDEN]
    assert hub.connections == (bob,)


@given(st.text(max_size=300))
def test_an_email_address_is_never_shown_as_a_name(name: str):
    email = "ann@example.com"
    assert email not in display_name(Identity(ANN, email, name)).lower()
    assert email not in display_name(Identity(ANN, email, name + email.upper() + name)).lower()
    assert display_name(Identity(ANN, email, name)).strip()
    assert len(display_name(Identity(ANN, email, name))) <= 100


def test_a_user_without_a_name_is_a_cookcam_user():
    for name in (None, "", "  "):
        assert display_name(Identity(ANN, "ann@example.com", name)) == "CookCam user"
    assert display_name(Identity(ANN, "ann@example.com", " Ann ")) == "Ann"


class HubMachine(RuleBasedStateMachine):
    """The hub against sets: no lost member, no ghost."""

    connections = Bundle("connections")
    rooms = st.sampled_from(["a", "b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(2)
        self.here: dict[Noted, set[str]] = {}

    @rule(target=connections, user=st.sampled_from([ANN, BOB]))
    def connect(self, user: UUID) -> Noted:
        mine = [peer for peer in self.here if peer.user_id == user]
        if len(mine) == 2:
            del self.here[mine[0]]
        connection = connected(self.hub, user)
        self.here[connection] = set()
        return connection

    @rule(connection=connections, room=rooms)
    def join(self, connection: Noted, room: str) -> None:
        connection.join(room)
        if connection in self.here:
            self.here[connection].add(room)

    @rule(connection=connections, room=rooms)
    def leave(self, connection: Noted, room: str) -> None:
        connection.leave(room)
        if connection in self.here:
            self.here[connection].discard(room)

    @rule(connection=consumes(connections))
    def close(self, connection: Noted) -> None:
        connection.close(CloseCode.NORMAL, "")
        self.here.pop(connection, None)

    @invariant()
    def agrees(self) -> None:
        assert set(self.hub.connections) == set(self.here)
        assert self.hub.connected_users() == len({peer.user_id for peer in self.here})
        for room in ("a", "b", "c"):
            members = {peer for peer, rooms in self.here.items() if room in rooms}
            assert set(self.hub.members(room)) == members
        for user in (ANN, BOB):
            mine = {peer for peer in self.here if peer.user_id == user}
            assert set(self.hub.connections_of(user)) == mine


TestHub = HubMachine.TestCase
