"""Cooking sessions as immutable values.

A change returns a new session with the next `seq`. The store writes it only if the stored `seq` is
still the previous one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from attrs import evolve, field, frozen

from cookcam.errors import AuthorizationError, NotFound
from cookcam.features.social.cooking.codes import matches_hash

MAX_PARTICIPANTS = 50
MAX_HOSTED = 3
"""Active cooking sessions of one host."""
MAX_JOINED = 10
"""Active cooking sessions of other hosts that one user takes part in."""

PARTICIPANT_GRACE = 30.0
"""Seconds a participant may be away without leaving."""
IDLE_TIMEOUT = 6 * 3600.0
"""Seconds without an event of its room that end a session."""

HOST_LEFT = "Host left the session"
EXPIRED = "Session expired"

MessageType = Literal["text", "image", "timer", "help"]


class SessionNotActive(NotFound):
    """The session does not exist, has ended, or is hidden from the user: indistinguishable."""

    default_message = "Cooking session not found or inactive"


class NotTheHost(AuthorizationError):
    default_message = "Only session host can update cooking steps"


def _tuple(users: Iterable[UUID]) -> tuple[UUID, ...]:
    return tuple(users)


def _set(users: Iterable[UUID]) -> frozenset[UUID]:
    return frozenset(users)


@frozen
class CookingSession:
    """`participants`: the host first, then in the order of joining. `admitted`: current, former and
    invited participants, who join without an invite code. `seq` counts the events of the room."""

    id: str
    host_id: UUID
    recipe_id: UUID | None
    title: str
    is_public: bool
    total_steps: int
    created_at: datetime
    participants: tuple[UUID, ...] = field(converter=_tuple)
    admitted: frozenset[UUID] = field(converter=_set)
    invite_code_hash: str | None = field(default=None, repr=False)
    current_step: int = 0
    seq: int = 0
    end_reason: str | None = None
    idle_for: float = field(default=0.0, eq=False)
    """Seconds from the last event of the room to the moment this was read."""

    @property
    def is_active(self) -> bool:
        return self.end_reason is None

    def is_open_to(self, user_id: UUID, invite_code: str | None = None) -> bool:
        """Whether the user may join. Only then may the user learn that the session exists."""
        return (
            self.is_public
            or user_id in self.admitted
            or (
                invite_code is not None
                and self.invite_code_hash is not None
                and matches_hash(invite_code, self.invite_code_hash)
            )
        )

    def joined_by(self, user_id: UUID) -> CookingSession:
        return self._next(
            participants=(*self.participants, user_id), admitted=self.admitted | {user_id}
        )

    def left_by(self, user_id: UUID) -> CookingSession:
        return self._next(participants=[user for user in self.participants if user != user_id])

    def at_step(self, step: int) -> CookingSession:
        return self._next(current_step=step)

    def with_message(self) -> CookingSession:
        return self._next()

    def ended(self, reason: str) -> CookingSession:
        return self._next(participants=(), end_reason=reason)

    def _next(self, **changes: object) -> CookingSession:
        return evolve(self, seq=self.seq + 1, idle_for=0.0, **changes)


@frozen
class Message:
    """A chat message of a participant."""

    user_id: UUID
    text: str
    kind: MessageType
    sent_at: datetime
