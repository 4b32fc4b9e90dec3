"""What the account routes read (`spec/http-api-core.md` §3.9, §6, §6.7).

Field names in camel case are those of older clients.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct, field

from cookcam.features.accounts.credentials import (
    LONGEST_EMAIL,
    LONGEST_TEXT,
    SHORTEST_NAME,
    SHORTEST_PASSWORD,
)
from cookcam.features.accounts.models import ProfileChanges
from cookcam.features.literals import refused
from cookcam.web import WANTED, given

SKILL_LEVELS = {
    "beginner": "beginner",
    "easy": "beginner",
    "intermediate": "intermediate",
    "medium": "intermediate",
    "advanced": "advanced",
    "hard": "advanced",
}


class Confidential(Struct):
    """A request whose content must not appear in a traceback or a log line."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


_NO_SPACE = r"[^\s@\x00-\x1f\x7f\x85]+"

Email = Annotated[
    str,
    Meta(
        extra_json_schema={
            "maxLength": LONGEST_EMAIL,
            "pattern": rf"^{_NO_SPACE}@{_NO_SPACE}\.{_NO_SPACE}$",
        }
    ),
    WANTED,
]
NewPassword = Annotated[
    str,
    Meta(extra_json_schema={"minLength": SHORTEST_PASSWORD, "maxLength": LONGEST_TEXT}),
    WANTED,
]
NewName = Annotated[
    str,
    Meta(
        extra_json_schema={
            "minLength": SHORTEST_NAME,
            "maxLength": LONGEST_TEXT,
            "pattern": r"\S[\s\S]*\S",
        }
    ),
    WANTED,
]


class SignUpRequest(Confidential):
    email: Email = ""
    password: NewPassword = ""
    name: NewName = ""

    def __post_init__(self) -> None:
        if not (self.email and self.password and self.name):
            raise refused("Email, password, and name are required", "email")


class LoginRequest(Confidential):
    email: Email = ""
    password: Annotated[str, Meta(extra_json_schema={"minLength": 1}), WANTED] = ""

    def __post_init__(self) -> None:
        if not (self.email and self.password):
            raise refused("Email and password are required", "email")


class SessionRefreshRequest(Confidential):
    any_of: ClassVar = (
        given(refresh_token={"type": "string", "minLength": 1}),
        given(refreshToken={"type": "string", "minLength": 1}),
    )

    refresh_token: str = ""
    refresh_token_camel: str = field(name="refreshToken", default="")

    @property
    def token(self) -> str:
        return self.refresh_token or self.refresh_token_camel

    def __post_init__(self) -> None:
        if not self.token:
            raise refused("Refresh token is required", "refresh_token")


class ForgotPasswordRequest(Confidential):
    email: Email = ""

    def __post_init__(self) -> None:
        if not self.email:
            raise refused("Email is required", "email")


class NewPasswordRequest(Confidential):
    password: NewPassword = ""

    def __post_init__(self) -> None:
        if not self.password:
            raise refused("Password is required", "password")


ShortText = Annotated[str, Meta(max_length=1000)]
SomeWords = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=100)
]
Servings = Annotated[int, Meta(ge=1, le=50)]


class ProfileRequest(Struct):
    """All optional; null means not given. `creator_tier` belongs to the server and is ignored."""

    name: Annotated[str, Meta(min_length=2, max_length=100)] | None = None
    avatar_url: Annotated[str, Meta(max_length=2048, pattern=r"^https://[^\s/]")] | None = None
    is_creator: bool | None = None
    creator_bio: ShortText | None = None
    creator_specialty: ShortText | None = None
    onboarding_completed: bool | None = None
    meal_prep_enabled: bool | None = None
    default_serving_size: Servings | None = None
    default_meal_prep_count: Servings | None = None
    kitchen_appliances: SomeWords | None = None
    dietary_preferences: SomeWords | None = None
    cuisine_preferences: SomeWords | None = None
    cooking_skill_level: (
        Annotated[str, Meta(extra_json_schema={"enum": list(SKILL_LEVELS)})] | None
    ) = None

    def __post_init__(self) -> None:
        if self.cooking_skill_level is not None:
            level = SKILL_LEVELS.get(self.cooking_skill_level.lower())
            if level is None:
                raise refused("Invalid cooking skill level", "cooking_skill_level")
            self.cooking_skill_level = level

    def changes(self) -> ProfileChanges:
        return ProfileChanges(**{name: getattr(self, name) for name in self.__struct_fields__})
