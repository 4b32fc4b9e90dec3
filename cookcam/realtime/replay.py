"""The replay buffer: the latest events, and the clients that may come back for them.

Connection state recovery of Socket.IO 4.6 and later: the server gives each socket a private id
(`pid`) and appends an offset to the arguments of each event. A client that reconnects presents
both, and gets back its id, its rooms, its data and the events that it missed. As in the reference
server, volatile events and events that expect an acknowledgement are not recorded.

An event is recorded with the rooms that it was sent to and the rooms that were skipped; the id of
a socket counts as a room. `Namespace.emit` and the hub of CookCam record in the same buffer.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import define, evolve, field, frozen

from cookcam.realtime.engineio import Message

S = TypeVar("S")

RECOVERABLE_REASONS: Final = frozenset(
    (
        "transport close",
        "transport error",
        "ping timeout",
        "forced close",
        "forced server close",
        "server shutting down",
    )
)
"""The ends of a connection after which its socket may be recovered."""


@frozen
class RecoveryOptions:
    """Limits of recovery: seconds until a client must be back, events and bytes of events in the
    buffer, and disconnected sockets.

    With `on_request`, recovery is only for clients with `recover: true` in their `auth`; the
    others get no private id, and no offset behind the arguments of an event.
    """

    max_disconnection_duration: float = 120.0
    max_events: int = 10_000
    max_bytes: int = 16_000_000
    max_absent: int = 10_000
    on_request: bool = False

    def are_for(self, auth: Mapping[str, Any]) -> bool:
        """Whether a client with this `auth` can recover."""
        return not self.on_request or auth.get("recover") is True


@frozen(eq=False)
class AbsentSocket:
    """A disconnected socket that its client may recover."""

    sid: str
    pid: str
    rooms: frozenset[str]
    data: dict[str, Any]
    since: float
    replay_rooms: frozenset[str] = frozenset()
    offset: str = ""
    """The last event that the client received; set when it reconnects."""

    @property
    def all_rooms(self) -> frozenset[str]:
        return self.rooms | self.replay_rooms | {self.sid}


@frozen(eq=False)
class _Recorded:
    at: float
    message: Message
    to: Collection[str] | None
    skip: Collection[str]

    @property
    def size(self) -> int:
        """Approximate bytes: a character beyond ASCII counts as one."""
        return sum(len(frame) for frame in self.message.frames)

    def was_for(self, rooms: frozenset[str]) -> bool:
        return (self.to is None or not rooms.isdisjoint(self.to)) and rooms.isdisjoint(self.skip)


@define(eq=False)
class ReplayBuffer(Generic[S]):
    """Events and disconnected sockets of one namespace, limited by `options`.

    `S` is the type of a connected socket.
    """

    options: RecoveryOptions = field(factory=RecoveryOptions)
    connected: dict[str, S] = field(factory=dict[str, S], init=False)
    """Private id → connected socket that can be recovered after a disconnect."""
    _prefix: str = field(factory=lambda: secrets.token_urlsafe(6), init=False)
    _events: deque[_Recorded] = field(factory=deque[_Recorded], init=False)
    _bytes: int = field(default=0, init=False)
    _dropped: int = field(default=0, init=False)
    _absent: dict[str, AbsentSocket] = field(factory=dict[str, AbsentSocket], init=False)

    @property
    def needed(self) -> bool:
        """Whether any client, connected or absent, can recover."""
        if self.connected:
            return True
        self._prune(trio.current_time())
        return bool(self._absent)

    def next_offset(self) -> str:
        """The offset of the next recorded event. It begins with a random prefix of this buffer, so
        that no text of an application can pass for one."""
        return f"{self._prefix}.{self._dropped + len(self._events)}"

    def record(
        self, message: Message, to: Collection[str] | None, skip: Collection[str] = ()
    ) -> None:
        """Adds an event that was sent to the rooms `to` (None: to all) except the rooms `skip`."""
        now = trio.current_time()
        event = _Recorded(now, message, to, skip)
        self._events.append(event)
        self._bytes += event.size
        self._prune(now)

    def disconnected(
        self,
        sid: str,
        pid: str,
        rooms: Iterable[str],
        data: dict[str, Any],
        replay_rooms: Iterable[str] = (),
    ) -> None:
        """Stores the state of a socket that has disconnected."""
        now = trio.current_time()
        self._absent[pid] = AbsentSocket(
            sid, pid, frozenset(rooms), data, now, frozenset(replay_rooms)
        )
        self._prune(now)

    def restore(self, absent: AbsentSocket) -> None:
        """Undoes a `claim` whose socket disconnected again before it was accepted."""
        self._absent[absent.pid] = absent

    def discard_absent(self, *rooms: str) -> None:
        """Forgets the absent sockets that are in all of these rooms: they cannot be recovered."""
        for pid, absent in tuple(self._absent.items()):
            if absent.all_rooms.issuperset(rooms):
                del self._absent[pid]

    def claim(self, pid: object, offset: object, limit: int) -> AbsentSocket | None:
        """Removes and returns the absent socket with this private id.

        None when there is none, or when it has missed more than `limit` events.
        """
        if not isinstance(pid, str) or not isinstance(offset, str):
            return None
        self._prune(trio.current_time())
        absent = self._absent.pop(pid, None)
        if absent is None or self._index_of(offset) is None:
            return None
        absent = evolve(absent, offset=offset)
        return absent if len(self.missed(absent)) <= limit else None

    def missed(self, absent: AbsentSocket) -> list[Message]:
        """The events that the client has not received, in order."""
        rooms, last = absent.all_rooms, self._index_of(absent.offset)
        later = islice(self._events, 0 if last is None else last + 1, None)
        return [event.message for event in later if event.was_for(rooms)]

    def _index_of(self, offset: str) -> int | None:
        prefix, _, number = offset.rpartition(".")
        if prefix != self._prefix or not number.isdecimal() or len(number) > 15:
            return None
        index = int(number) - self._dropped
        return index if 0 <= index < len(self._events) else None

    def _prune(self, now: float) -> None:
        oldest = now - self.options.max_disconnection_duration
        while self._absent:
            pid, absent = next(iter(self._absent.items()))
            if absent.since > oldest and len(self._absent) <= self.options.max_absent:
                break
            del self._absent[pid]
        while self._events and (
            self._events[0].at <= oldest
            or len(self._events) > self.options.max_events
            or self._bytes > self.options.max_bytes
        ):
            self._bytes -= self._events.popleft().size
            self._dropped += 1
