"""Response body of the tip route: a tip awaiting its payment."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from cookcam.features.creators.tips.service import StartedTip


class TipResponse(Struct, rename={"client_secret": "clientSecret", "tip_id": "tipId"}):
    success: bool
    message: str
    client_secret: str
    tip_id: UUID

    @classmethod
    def of(cls, started: StartedTip) -> TipResponse:
        return cls(True, "Tip sent successfully", started.client_secret, started.tip.id)
