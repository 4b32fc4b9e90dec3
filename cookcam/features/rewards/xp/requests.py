"""Request bodies of the XP routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.rewards.xp.models import XpClaim
from cookcam.http import DOCUMENTED_AS_REQUIRED

MAX_KEY_LENGTH = 200
MAX_SUBJECT_LENGTH = 100
REQUIRED_FIELDS = "XP amount and action are required"

SUBJECTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "CLAIM_RECIPE",
            "SAVE_RECIPE",
            "SHARE_RECIPE",
            "SUBMIT_RATING",
            "RECIPE_PROCESS_PHOTO",
            "PROCESS_PHOTO",
            "RECIPE_INGREDIENT_PHOTO",
            "INGREDIENTS_PHOTO",
            "SOCIAL_SHARE_INSTAGRAM",
            "SOCIAL_SHARE_FACEBOOK",
            "SOCIAL_SHARE_TWITTER",
            "SOCIAL_SHARE_TIKTOK",
            "SOCIAL_SHARE_PINTEREST",
            "SOCIAL_SHARE_WHATSAPP",
            "SOCIAL_SHARE_COPY",
            "SOCIAL_SHARE_COPY_LINK",
        ),
        "recipe_id",
    ),
    "DISCOVER_NEW_CUISINE": "cuisine",
    "JOIN_COMPETITION": "competition_id",
}
"""Action → the field of the metadata that names its subject. A subject earns XP once."""

Subject = Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT_LENGTH)]


class ClaimMetadata(Struct, omit_defaults=True):
    """What the action was about. Other keys are ignored."""

    idempotency_key: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_KEY_LENGTH,
                description="claims of one action with the same key make one award",
            ),
        ]
        | None
    ) = None
    recipe_id: Subject | None = None
    cuisine: Subject | None = None
    competition_id: Subject | None = None


class AddXpRequest(Struct):
    """A claim of XP. The server decides the amount; `xp_amount` has no effect."""

    xp_amount: Annotated[
        Any,
        Meta(
            description="required for older clients; the catalogue decides the amount",
            extra_json_schema={"type": "number", "exclusiveMinimum": 0},
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    action: Annotated[
        str,
        Meta(
            max_length=100,
            description="an action of the catalogue, such as COMPLETE_RECIPE",
            extra_json_schema={"minLength": 1},
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = ""
    metadata: ClaimMetadata | None = None

    def claim(self) -> XpClaim:
        """The validated claim. Raises ValidationError."""
        amount: object = self.xp_amount
        if not isinstance(amount, int | float) or isinstance(amount, bool) or amount <= 0:
            raise rejected_field(REQUIRED_FIELDS, "xp_amount")
        if not self.action:
            raise rejected_field(REQUIRED_FIELDS, "action")
        metadata = self.metadata or ClaimMetadata()
        subject_field = SUBJECTS.get(self.action)
        return XpClaim(
            self.action,
            subject=subject_field and getattr(metadata, subject_field),
            request_key=metadata.idempotency_key,
        )
