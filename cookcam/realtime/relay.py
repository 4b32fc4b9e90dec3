"""The relay: makes the hubs of all instances one.

What a hub sends to a user, a room or everybody is told to the other instances, and done there for
their connections. Each instance tells who is in which of its rooms: changes as they happen, all of
it every PULSE seconds and to whoever is new. An instance that is silent for LEASE seconds counts
as gone, with everybody in it. Alone on the bus, an instance tells nothing but its pulse; it knows
that it is alone SETTLING seconds after it has joined.

While the bus is lost nobody can be heard, which says nothing about the others: who was there then
stays, and has another LEASE to be heard of from the moment it is back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
import trio
from attrs import define, field

from cookcam.realtime.announcement import Announcement
from cookcam.realtime.bus import Bus
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.hub import Hub, Present

PULSE: Final = 5.0
LEASE: Final = 16.0
SETTLING: Final = 2 * PULSE
"""Every other instance has sent a pulse by then. Until then everything is published: an event of
the first moments must not be lost because nobody has answered the greeting yet."""


@define
class Peer:
    """Another instance: until when it counts without a word, and who is in its rooms."""

    until: float
    present: set[Present] = field(factory=set[Present])


@define(eq=False)
class Relay:
    """The `ClientWriter` of a hub, and the `Member` of a bus. `run` keeps it going."""

    hub: Hub
    bus: Bus
    _peers: dict[str, Peer] = field(factory=dict[str, Peer], init=False)
    _deaf_since: float | None = field(default=None, init=False)
    _settled_at: float = field(default=math.inf, init=False)

    @property
    def peers(self) -> int:
        """Instances that were heard of lately."""
        return sum(1 for _ in self._here())

    async def run(self) -> None:
        """Joins the bus and stays on it, until cancelled."""
        self.hub.outlet = self
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.bus.run, self)
            nursery.start_soon(self._pulse)

    # -- Outlet

    def is_elsewhere(self, user_id: UUID, room: str) -> bool:
        there = Present(room, user_id)
        return any(there in peer.present for peer in self._here())

    def user(self, user_id: UUID, announcement: Announcement) -> None:
        self._tell("user", announcement, to=str(user_id))

    def everybody(self, announcement: Announcement, exclude_user: UUID | None) -> None:
        self._tell("everybody", announcement, but=exclude_user and str(exclude_user))

    def room(self, room: str, announcement: Announcement) -> None:
        self._tell("room", announcement, to=room)

    def close_user(self, user_id: UUID, code: CloseCode, reason: str) -> None:
        self._tell("close_user", to=str(user_id), code=int(code), reason=reason)

    def empty_room(self, room: str, user_id: UUID | None) -> None:
        self._tell("empty_room", to=room, user=user_id and str(user_id))

    def present(self, present: Present, *, now: bool) -> None:
        self._tell("present", to=present.room, user=str(present.user_id), now=now)

    # -- Member

    def heard(self, instance: str, text: str) -> None:
        try:
            self._act(instance, json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Another release may speak otherwise; what is not understood is left out.
            reason = type(error).__name__
            structlog.get_logger(__name__).warning("bus message not understood", reason=reason)

    def joined(self) -> None:
        for peer in self._here():
            peer.until = trio.current_time() + LEASE
        self._deaf_since = None
        self._settled_at = trio.current_time() + SETTLING
        self._tell_all_present("hello")

    def lost(self) -> None:
        self._deaf_since = trio.current_time()

    # -- the bus

    def _here(self) -> Iterator[Peer]:
        now = trio.current_time() if self._deaf_since is None else self._deaf_since
        return (peer for peer in self._peers.values() if peer.until > now)

    def _tell(self, kind: str, announcement: Announcement | None = None, **fields: Any) -> None:
        if not self.peers and trio.current_time() >= self._settled_at:
            return
        if announcement is not None:
            fields |= {
                "event": announcement.event,
                "body": orjson.dumps(announcement.body).decode(),
                "volatile": announcement.volatile,
            }
        self.bus.publish(json.dumps({"kind": kind, **fields}))

    def _tell_all_present(self, kind: str) -> None:
        rooms: dict[str, list[str]] = {}
        for present in self.hub.present:
            rooms.setdefault(present.room, []).append(str(present.user_id))
        self.bus.publish(json.dumps({"kind": kind, "rooms": rooms}))

    async def _pulse(self) -> None:
        while True:
            await trio.sleep(PULSE)
            if self._deaf_since is None:
                self._tell_all_present("pulse")
                self._forget_the_gone()

    def _forget_the_gone(self) -> None:
        now = trio.current_time()
        self._peers = {name: peer for name, peer in self._peers.items() if peer.until > now}

    def _act(self, instance: str, said: dict[str, Any]) -> None:
        peer = self._peers.setdefault(instance, Peer(0.0))
        peer.until = trio.current_time() + LEASE
        match said["kind"]:
            case "hello" | "pulse":
                peer.present = {
                    Present(room, UUID(user))
                    for room, users in said["rooms"].items()
                    for user in users
                }
                if said["kind"] == "hello":
                    self._tell_all_present("pulse")
            case "present":
                present = Present(said["to"], UUID(said["user"]))
                (peer.present.add if said["now"] else peer.present.discard)(present)
            case "user":
                self.hub.deliver_to_user(UUID(said["to"]), _announcement(said))
            case "room":
                self.hub.deliver_to_room(said["to"], _announcement(said))
            case "everybody":
                excluded = UUID(said["but"]) if said["but"] else None
                self.hub.deliver_to_everybody(_announcement(said), excluded)
            case "close_user":
                code = CloseCode(said["code"])
                self.hub.close_connections_of(UUID(said["to"]), code, said["reason"])
            case "empty_room":
                self.hub.empty(said["to"], UUID(said["user"]) if said["user"] else None)
            case kind:
                raise ValueError(kind)


def _announcement(said: dict[str, Any]) -> Announcement:
    return Announcement(said["event"], orjson.Fragment(said["body"]), said["volatile"])
