"""The relay: connects the hubs of all instances over the bus.

What a hub sends to a user, a room or all users is published to the other instances, which deliver
it to their connections. Each instance also publishes which users are in which of its rooms: every
change, and the full list every PULSE_INTERVAL seconds and to an instance that joins. An instance
that is silent for LEASE seconds counts as gone, with the users in its rooms. An instance that is
alone publishes only its pulse; it relies on being alone SETTLING_TIME seconds after it has joined.

While the connection to the bus is lost, the leases of the other instances do not run. They are
renewed when the connection is back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
import trio
from attrs import define, field

from cookcam.realtime.bus import Bus
from cookcam.realtime.connection import CloseCode
from cookcam.realtime.hub import Hub, RoomPresence
from cookcam.realtime.server_events import ServerEvent

PULSE_INTERVAL: Final = 5.0
LEASE: Final = 16.0
"""Three pulses, and a second for delays."""
SETTLING_TIME: Final = 2 * PULSE_INTERVAL
"""Every other instance has sent a pulse by then. Until then everything is published, because an
event sent before the first reply to the greeting must not be lost."""


@define
class Peer:
    """Another instance, when its lease ends, and who is in its rooms."""

    lease_ends_at: float
    presences: set[RoomPresence] = field(factory=set[RoomPresence])


@define(eq=False)
class Relay:
    """The `BusMember` of a hub. `run` keeps it going."""

    hub: Hub
    bus: Bus
    count: Callable[[str], None] = lambda _direction: None
    """Called with `received` or `sent` for each message, for the metrics."""
    _peers: dict[str, Peer] = field(factory=dict[str, Peer], init=False)
    _disconnected_at: float | None = field(default=None, init=False)
    _settled_at: float = field(default=math.inf, init=False)

    @property
    def peers(self) -> int:
        """The number of other instances with a valid lease."""
        return sum(1 for _ in self._active_peers())

    async def run(self) -> None:
        """Joins the bus and stays on it until cancelled."""
        self.hub.relay = self
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.bus.run, self)
            nursery.start_soon(self._publish_pulses)

    # -- called by the hub

    def is_elsewhere(self, user_id: UUID, room: str) -> bool:
        presence = RoomPresence(room, user_id)
        return any(presence in peer.presences for peer in self._active_peers())

    def send_to_user(self, user_id: UUID, event: ServerEvent) -> None:
        self._publish("user", event, to=str(user_id))

    def broadcast(self, event: ServerEvent, exclude_user: UUID | None) -> None:
        self._publish("everybody", event, but=exclude_user and str(exclude_user))

    def send_to_room(self, room: str, event: ServerEvent) -> None:
        self._publish("room", event, to=room)

    def close_user(self, user_id: UUID, code: CloseCode, reason: str) -> None:
        self._publish("close_user", to=str(user_id), code=int(code), reason=reason)

    def empty_room(self, room: str, user_id: UUID | None) -> None:
        self._publish("empty_room", to=room, user=user_id and str(user_id))

    def announce(self, presence: RoomPresence, *, present: bool) -> None:
        self._publish("present", to=presence.room, user=str(presence.user_id), now=present)

    # -- called by the bus

    def received(self, instance: str, text: str) -> None:
        self.count("received")
        try:
            self._apply(instance, json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # A newer release may send other messages; unknown ones are skipped.
            reason = type(error).__name__
            structlog.get_logger(__name__).warning("bus message not understood", reason=reason)
        except Exception as error:
            self.hub.on_failure("relay", error)

    def joined(self) -> None:
        for peer in self._active_peers():
            peer.lease_ends_at = trio.current_time() + LEASE
        self._disconnected_at = None
        self._settled_at = trio.current_time() + SETTLING_TIME
        self._publish_presences("hello")

    def lost(self) -> None:
        self._disconnected_at = trio.current_time()

    def _active_peers(self) -> Iterator[Peer]:
        now = trio.current_time() if self._disconnected_at is None else self._disconnected_at
        return (peer for peer in self._peers.values() if peer.lease_ends_at > now)

    def _publish(self, kind: str, event: ServerEvent | None = None, **fields: Any) -> None:
        if not self.peers and trio.current_time() >= self._settled_at:
            return
        if event is not None:
            fields |= {
                "event": event.event,
                "body": orjson.dumps(event.body).decode(),
                "volatile": event.volatile,
            }
        self._send({"kind": kind, **fields})

    def _send(self, message: dict[str, Any]) -> None:
        self.count("sent" if self.bus.publish(json.dumps(message)) else "dropped")

    def _publish_presences(self, kind: str) -> None:
        rooms: dict[str, list[str]] = {}
        for presence in self.hub.presences:
            rooms.setdefault(presence.room, []).append(str(presence.user_id))
        self._send({"kind": kind, "rooms": rooms})

    async def _publish_pulses(self) -> None:
        while True:
            await trio.sleep(PULSE_INTERVAL)
            if self._disconnected_at is None:
                self._publish_presences("pulse")
                self._remove_expired_peers()

    def _remove_expired_peers(self) -> None:
        now = trio.current_time()
        self._peers = {name: peer for name, peer in self._peers.items() if peer.lease_ends_at > now}

    def _apply(self, instance: str, message: dict[str, Any]) -> None:
        """Applies a message of another instance. Raises ValueError, KeyError, TypeError and
        AttributeError for a malformed one."""
        peer = self._peers.setdefault(instance, Peer(0.0))
        peer.lease_ends_at = trio.current_time() + LEASE
        match message["kind"]:
            case "hello" | "pulse":
                peer.presences = {
                    RoomPresence(room, UUID(user))
                    for room, users in message["rooms"].items()
                    for user in users
                }
                if message["kind"] == "hello":
                    self._publish_presences("pulse")
            case "present":
                presence = RoomPresence(message["to"], UUID(message["user"]))
                (peer.presences.add if message["now"] else peer.presences.discard)(presence)
            case "user":
                self.hub.deliver_to_user(UUID(message["to"]), _event_of(message))
            case "room":
                self.hub.deliver_to_room(message["to"], _event_of(message))
            case "everybody":
                excluded = UUID(message["but"]) if message["but"] else None
                self.hub.deliver_to_all(_event_of(message), excluded)
            case "close_user":
                code = CloseCode(message["code"])
                self.hub.close_connections_of(UUID(message["to"]), code, message["reason"])
            case "empty_room":
                user_id = UUID(message["user"]) if message["user"] else None
                self.hub.empty_local_room(message["to"], user_id)
            case kind:
                raise ValueError(kind)


def _event_of(message: dict[str, Any]) -> ServerEvent:
    return ServerEvent(message["event"], orjson.Fragment(message["body"]), message["volatile"])
