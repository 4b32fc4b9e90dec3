"""Connection-state recovery: what a client missed while it was away for a moment.

As clients of Socket.IO 4.6 and later do it: the server gives each socket a private id (`pid`) and
ends each event with an offset; a client that returns presents both, and gets back its id, its
rooms, its data and the events it missed. Events that are volatile or want an acknowledgement are
not kept, as in the reference.

Who a message is for is said in names: rooms, ids of sockets, and the `aliases` of those whose
application sends by other ways than `Namespace.emit`.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import trio
from attrs import define, evolve, field, frozen

from cookcam.realtime.engineio import Message

from .rooms import Target, names_of

RECOVERABLE_REASONS = frozenset(
    (
        "transport close",
        "transport error",
        "ping timeout",
        "forced close",
        "forced server close",
        "server shutting down",
    )
)


@frozen
class RecoveryOptions:
    """For how long (seconds), for how many events and bytes of events of a namespace, and for how
    many sockets a return is possible.

    `on_request` leaves clients as they are that do not have `recover: true` in their `auth`: they
    get no private id, and no offset behind the arguments of an event.
    """

    max_disconnection_duration: float = 120.0
    max_events: int = 10_000
    max_bytes: int = 16_000_000
    max_absent: int = 10_000
    on_request: bool = False

    def are_for(self, auth: Mapping[str, Any]) -> bool:
        """Whether a client with this `auth` may return."""
        return not self.on_request or auth.get("recover") is True


@frozen(eq=False)
class Absent:
    """A socket that may come back."""

    sid: str
    pid: str
    rooms: frozenset[str]
    data: dict[str, Any]
    since: float
    aliases: frozenset[str] = frozenset()
    offset: str = ""
    """Of the last event it got, once it is back."""

    @property
    def names(self) -> frozenset[str]:
        """All by which it is found."""
        return self.rooms | self.aliases | {self.sid}


@frozen(eq=False)
class _Kept:
    at: float
    message: Message
    to: tuple[str, ...] | None
    skip: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes, roughly: characters beyond ASCII count as one."""
        return sum(len(frame) for frame in self.message.frames)

    def concerns(self, names: frozenset[str]) -> bool:
        return (self.to is None or not names.isdisjoint(self.to)) and names.isdisjoint(self.skip)


@define(eq=False)
class History:
    """The latest events of one namespace, and its absent sockets. Bounded in both."""

    options: RecoveryOptions = field(factory=RecoveryOptions)
    _era: str = field(factory=lambda: secrets.token_urlsafe(6), init=False)
    _kept: deque[_Kept] = field(factory=deque[_Kept], init=False)
    _bytes: int = field(default=0, init=False)
    _forgotten: int = field(default=0, init=False)
    _absent: dict[str, Absent] = field(factory=dict[str, Absent], init=False)

    def next_offset(self) -> str:
        """The offset of the event that is kept next. Texts of an application cannot be taken
        for one, as they do not begin with this history's own mark."""
        return f"{self._era}.{self._forgotten + len(self._kept)}"

    def keep(self, message: Message, to: Target | None, skip: Target) -> None:
        now = trio.current_time()
        rooms = None if to is None else names_of(to)
        kept = _Kept(now, message, rooms, names_of(skip))
        self._kept.append(kept)
        self._bytes += kept.size
        self._prune(now)

    def leave(
        self,
        sid: str,
        pid: str,
        rooms: Iterable[str],
        data: dict[str, Any],
        aliases: Iterable[str] = (),
    ) -> None:
        """The socket is gone, perhaps to return."""
        now = trio.current_time()
        self._absent[pid] = Absent(sid, pid, frozenset(rooms), data, now, frozenset(aliases))
        self._prune(now)

    def restore(self, absent: Absent) -> None:
        """The socket came back and was gone before it was told so."""
        self._absent[absent.pid] = absent

    def expects_anybody(self) -> bool:
        """Whether there is a socket that may come back."""
        self._prune(trio.current_time())
        return bool(self._absent)

    def give_up(self, *names: str) -> None:
        """Who is absent and goes by all of these names cannot return."""
        for pid, absent in tuple(self._absent.items()):
            if absent.names.issuperset(names):
                del self._absent[pid]

    def claim(self, pid: object, offset: object, limit: int) -> Absent | None:
        """The absent socket of that private id, once; None when it must start anew, as when it
        has missed more than `limit` events."""
        if not isinstance(pid, str) or not isinstance(offset, str):
            return None
        self._prune(trio.current_time())
        absent = self._absent.pop(pid, None)
        if absent is None or self._index_of(offset) is None:
            return None
        absent = evolve(absent, offset=offset)
        return absent if len(self.missed(absent)) <= limit else None

    def missed(self, absent: Absent) -> list[Message]:
        """What it did not get, in order."""
        names, seen = absent.names, self._index_of(absent.offset)
        first = 0 if seen is None else seen + 1
        return [kept.message for kept in islice(self._kept, first, None) if kept.concerns(names)]

    def _index_of(self, offset: str) -> int | None:
        era, _, number = offset.rpartition(".")
        if era != self._era or not number.isdecimal() or len(number) > 15:
            return None
        index = int(number) - self._forgotten
        return index if 0 <= index < len(self._kept) else None

    def _prune(self, now: float) -> None:
        oldest = now - self.options.max_disconnection_duration
        while self._absent:
            pid, absent = next(iter(self._absent.items()))
            if absent.since > oldest and len(self._absent) <= self.options.max_absent:
                break
            del self._absent[pid]
        while self._kept and (
            self._kept[0].at <= oldest
            or len(self._kept) > self.options.max_events
            or self._bytes > self.options.max_bytes
        ):
            self._bytes -= self._kept.popleft().size
            self._forgotten += 1
