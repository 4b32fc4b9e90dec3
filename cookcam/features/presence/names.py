"""The names by which people are seen on the live channel: those of their profiles."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.features.accounts.service import Cards


@frozen
class Names:
    cards: Cards

    async def of(self, user_id: UUID) -> str | None:
        """The name in a profile; None where there is none. Raises ServiceUnavailable."""
        card = (await self.cards.of([user_id])).get(user_id)
        return None if card is None else card.name
