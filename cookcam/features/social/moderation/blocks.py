"""Blocks between users: the rules and their SQL."""

from __future__ import annotations

from typing import Final, LiteralString
from uuid import UUID

import trio
from attrs import define, field, frozen

from cookcam.database import SERVICE, Database
from cookcam.errors import ForeignKeyError, NotFound, ValidationError
from cookcam.features.pages import PageKey, newest_first, time_text
from cookcam.identity import Identity

RECENT: Final = 300.0
"""Seconds for which a new block is also held in memory: longer than any event takes from reading
the blocks to its delivery."""

HIDDEN_FROM: LiteralString = "select safety.hidden_from(%(user_id)s) as ids"

BLOCK: LiteralString = """
insert into public.user_blocks (blocker_id, blocked_id) values (%(blocker)s, %(blocked)s)
on conflict (blocker_id, blocked_id) do nothing"""

UNBLOCK: LiteralString = """
delete from public.user_blocks where blocker_id = %(blocker)s and blocked_id = %(blocked)s"""

BLOCKED = newest_first(
    "blocked",
    f"""json_build_object(
  'id', u.id, 'name', u.name, 'avatar_url', u.avatar_url, 'blocked_at', {time_text("b.created_at")}
)""",
    """from public.user_blocks b join public.users u on u.id = b.blocked_id
where b.blocker_id = %(reader)s""",
    time="b.created_at",
    id="u.id",
)


@define(eq=False)
class Blocks:
    """Blocked users do not see each other, nor what the other writes.

    Row policies hide stored content. Live events are sent to all but the users of `hidden_from`.
    """

    database: Database
    _recent: dict[UUID, dict[UUID, float]] = field(
        factory=dict[UUID, dict[UUID, float]], init=False
    )

    async def hidden_from(self, user_id: UUID) -> HiddenUsers:
        """The users hidden from `user_id`; its events are not sent to them."""
        ids: list[UUID] = await self.database.fetch_value_as(SERVICE, HIDDEN_FROM, user_id=user_id)
        return HiddenUsers(self, user_id, frozenset(ids))

    async def block(self, caller: Identity, other: UUID) -> None:
        """Block a user. Once this returns, no event of the user reaches the caller.

        On other instances, an event that was sent before may arrive within the delay of the bus.
        Raises ValidationError for the caller's own id, and NotFound.
        """
        _check_not_self(caller, other)
        try:
            async with self.database.transaction_as(caller) as tx:
                await tx.execute(BLOCK, blocker=caller.user_id, blocked=other)
        except ForeignKeyError:
            raise NotFound("User not found", error="User not found") from None
        self._remember(caller.user_id, other)

    async def unblock(self, caller: Identity, other: UUID) -> None:
        """Does nothing without a block. Follows that the block ended do not come back."""
        async with self.database.transaction_as(caller) as tx:
            await tx.execute(UNBLOCK, blocker=caller.user_id, blocked=other)
        for one, two in ((caller.user_id, other), (other, caller.user_id)):
            self._recent.get(one, {}).pop(two, None)

    async def blocked_by(self, caller: Identity, key: PageKey, limit: int) -> bytes:
        """A page of the users that the caller has blocked, as JSON; the latest first."""
        # As SERVICE: row policies and column grants of users are those of other readers.
        return await self.database.fetch_json_as(
            SERVICE, BLOCKED, reader=caller.user_id, limit=limit, **key.parameters()
        )

    def recent(self, user_id: UUID) -> frozenset[UUID]:
        """The other sides of blocks of or by the user, of the last RECENT seconds."""
        return frozenset(self._recent.get(user_id, ()))

    def _remember(self, one: UUID, two: UUID) -> None:
        now = trio.current_time()
        for user_id in list(self._recent):
            pairs = self._recent[user_id]
            for other in [other for other, at in pairs.items() if at < now - RECENT]:
                del pairs[other]
            if not pairs:
                del self._recent[user_id]
        self._recent.setdefault(one, {})[two] = now
        self._recent.setdefault(two, {})[one] = now


@frozen(eq=False)
class HiddenUsers:
    """The users hidden from `user_id`, as stored, and those of blocks made since."""

    blocks: Blocks
    user_id: UUID
    stored: frozenset[UUID]

    def now(self) -> frozenset[UUID]:
        """Call it when the event is sent, without an await in between."""
        return self.stored | self.blocks.recent(self.user_id)


def _check_not_self(caller: Identity, other: UUID) -> None:
    if caller.user_id == other:
        message = "Cannot block yourself"
        raise ValidationError(message, error=message)
