"""A connection: one client of one user, over either protocol.

Handlers and services use this class. Its subclasses implement how an event is written (`deliver`)
and how the connection closes (`_close`).
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from attrs import define, field

from cookcam.http.responses import now_text
from cookcam.identity import Identity
from cookcam.realtime.server_events import ServerEvent

if TYPE_CHECKING:
    from cookcam.realtime.hub import Hub

DEFAULT_NAME = "CookCam user"
MAX_NAME_LENGTH = 100

MIN_RECONNECT_MS = 1_000
MAX_RECONNECT_MS = 10_000
"""Range of the random reconnect delay in `server_shutdown`, so that clients do not all reconnect at
once."""


class CloseCode(IntEnum):
    """WebSocket close codes. What a client should do after each is in docs/realtime.md."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The server shuts down, or maintenance mode was switched on."""
    BINARY = 1003
    INVALID = 1007
    """Three consecutive frames were not JSON objects."""
    TOO_LARGE = 1009
    SERVER_FAULT = 1011
    """A server error, or no response to a ping."""
    TOO_SLOW = 1013
    """The outbox is full of events that may not be dropped."""
    TOKEN = 4401
    """The token is missing, invalid or expired."""
    FORBIDDEN = 4403
    """The account is disabled."""
    UNAUTHENTICATED = 4408
    """No `authenticate` in time."""
    REPLACED = 4409
    """The user has opened more connections than are allowed."""
    RATE_LIMITED = 4429
    """The client kept sending after repeated rate-limit errors."""


NO_AUTO_RECONNECT = frozenset({CloseCode.FORBIDDEN, CloseCode.REPLACED, CloseCode.RATE_LIMITED})
"""After these a client must not reconnect immediately. A Socket.IO client is disconnected from the
namespace first, because its library reconnects automatically after a mere close."""


@define(eq=False)
class Connection(ABC):
    """Belongs to a hub from the moment its token was accepted until it ends."""

    protocol: ClassVar[str]

    id: str
    identity: Identity
    """Replaced when the client sends a fresh token of the same user."""
    _hub: Hub = field(alias="hub", repr=False)
    address: str = field(repr=False, kw_only=True)
    """The client's address, for logs and error reports."""
    rooms: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    """The rooms it is in; after its end, those it was in."""
    consecutive_rejections: int = field(default=0, init=False, repr=False)
    """Events rejected by the rate limits since the last accepted one."""
    expiry_announced: bool = field(default=False, init=False, repr=False)
    """Whether `token_expiring` was sent for the current token."""
    watches_drain: bool = field(default=False, init=False, repr=False)
    """Whether it is a console's: open in maintenance mode, and, as a plain connection, until the
    console closes it at the end of a drain."""
    shutdown_announced: bool = field(default=False, init=False, repr=False)
    """Whether `server_shutdown` was sent."""

    @property
    def user_id(self) -> UUID:
        return self.identity.user_id

    @property
    def user_name(self) -> str:
        """The name that other users see. Never an email address."""
        return display_name(self.identity)

    @property
    def polling(self) -> bool:
        """Whether events leave only in the responses to the client's polls."""
        return False

    @property
    def queued(self) -> int:
        """The events in the outbox: accepted, and not written yet."""
        return 0

    @property
    def recoverable(self) -> bool:
        """Whether the client can reconnect after a drop and receive the events it missed."""
        return False

    @property
    def token_expires_at(self) -> float:
        """Seconds since the epoch; infinity for an identity that does not expire."""
        expires = self.identity.expires_at
        return math.inf if expires is None else expires.timestamp()

    def send(self, event: str, data: object, *, volatile: bool = False) -> bool:
        """Sends an event to this client; see `ServerEvent` for `data` and `volatile`.

        Never blocks. False when the connection has ended, or when a volatile event did not fit. A
        client whose outbox is full of events that are not volatile is closed with 1013.
        """
        return self.send_event(ServerEvent(event, data, volatile))

    def send_event(self, event: ServerEvent) -> bool:
        """Like `send`, for an event that may be encoded already."""
        return self._hub.deliver_to_connection(self, event)

    def announce_shutdown(self, retry_after: int = 0) -> None:
        """Sends `server_shutdown`, once. `retry_after` seconds are added to the random delay."""
        if self.shutdown_announced:
            return
        self.shutdown_announced = True
        jitter = random.randint(MIN_RECONNECT_MS, MAX_RECONNECT_MS)  # noqa: S311
        self.send(
            "server_shutdown",
            {
                "message": "Server is shutting down for maintenance",
                "timestamp": now_text(),
                "reconnectAfterMs": 1_000 * retry_after + jitter,
            },
        )

    def join(self, room: str) -> None:
        self._hub.join(self, room)

    def leave(self, room: str) -> None:
        self._hub.leave(self, room)

    def close(self, code: CloseCode, reason: str) -> None:
        """Removes the connection from the hub and closes it in its protocol, after the events that
        were sent before. Never blocks."""
        self._hub.remove(self)
        self._close(code, reason)

    @abstractmethod
    def deliver(self, event: ServerEvent) -> bool:
        """Writes an event to the client, without recording it for a replay; returns as `send`."""

    @abstractmethod
    def _close(self, code: CloseCode, reason: str) -> None: ...


def display_name(identity: Identity) -> str:
    """The user's name, or `CookCam user` when it is empty or contains the email address."""
    name = (identity.name or "").strip()[:MAX_NAME_LENGTH]
    if not name or (identity.email and identity.email.casefold() in name.casefold()):
        return DEFAULT_NAME
    return name
