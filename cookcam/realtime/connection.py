"""A connection: one client of one user, whichever of the two protocols it speaks.

What handlers and services hold. Subclasses say how an event leaves (`deliver`) and how the
connection ends (`_close`); everything else is the same for both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from attrs import define, field

from cookcam.identity import Identity
from cookcam.realtime.announcement import Announcement
from cookcam.realtime.closing import CloseCode

if TYPE_CHECKING:
    from cookcam.realtime.hub import Hub

NAMELESS = "CookCam user"
MAX_NAME_LENGTH = 100


@define(eq=False)
class Connection(ABC):
    """Belongs to a hub from the moment its token was accepted until it ends."""

    protocol: ClassVar[str]

    id: str
    identity: Identity
    """Who it is. Replaced when the client hands in a fresh token of the same user."""
    _hub: Hub = field(alias="hub", repr=False)
    address: str = field(repr=False, kw_only=True)
    """The client's address, for log lines and reports."""
    rooms: set[str] = field(factory=set[str], init=False, repr=False)
    """Where it is; after its end, where it was."""
    excesses: int = field(default=0, init=False, repr=False)
    """Refusals by the rate limits since the last event that was within them."""
    warned: bool = field(default=False, init=False, repr=False)
    """Whether it was told that its token is about to expire."""
    noticed: bool = field(default=False, init=False, repr=False)
    """Whether it was told that the server shuts down."""

    @property
    def user_id(self) -> UUID:
        return self.identity.user_id

    @property
    def user_name(self) -> str:
        """What others see. Never an email address."""
        return shown_name(self.identity)

    @property
    def polling(self) -> bool:
        """Whether events leave only when the client comes to ask for them."""
        return False

    @property
    def recoverable(self) -> bool:
        """Whether the client may return after a drop and get what it missed."""
        return False

    @property
    def token_ends(self) -> float:
        """Seconds since the epoch; infinity for an identity without an end."""
        expires = self.identity.expires_at
        return math.inf if expires is None else expires.timestamp()

    def send(self, event: str, data: object, *, volatile: bool = False) -> bool:
        """Sends an event to this client; see `Announcement` for `data` and `volatile`.

        Never waits. False when the connection has ended or a volatile event found no room. A
        client whose outbox is full of what is not volatile is closed with 1013.
        """
        return self.deliver(Announcement(event, data, volatile))

    def join(self, room: str) -> None:
        self._hub.join(self, room)

    def leave(self, room: str) -> None:
        self._hub.leave(self, room)

    def close(self, code: CloseCode, reason: str) -> None:
        """Ends the connection in order: from now on it is nobody's presence and takes no event;
        what was sent before is delivered, then comes the close in its own protocol. Never waits.
        """
        self._hub.remove(self)
        self._close(code, reason)

    @abstractmethod
    def deliver(self, announcement: Announcement) -> bool:
        """As `send`, for what is sent to many."""

    @abstractmethod
    def _close(self, code: CloseCode, reason: str) -> None: ...


def shown_name(identity: Identity) -> str:
    """The name in the user's metadata, or `CookCam user`. Source: `spec/realtime.md` §2."""
    name = (identity.name or "").strip()[:MAX_NAME_LENGTH]
    if not name or (identity.email and identity.email.casefold() in name.casefold()):
        return NAMELESS
    return name
