"""Display names of users on the live channel, read from their profiles."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.features.accounts.service import PublicCards


@frozen
class DisplayNames:
    cards: PublicCards

    async def of(self, user_id: UUID) -> str | None:
        """The name in the user's profile; None without a profile. Raises ServiceUnavailable."""
        card = (await self.cards.of([user_id])).get(user_id)
        return None if card is None else card.name
