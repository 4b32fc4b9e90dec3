"""Requests of the account routes. Camel-case field names are those of older clients."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, ClassVar, Final
from zoneinfo import available_timezones

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cookcam.errors import ValidationError
from cookcam.features.accounts.credentials import (
    MAX_EMAIL_LENGTH,
    MAX_PASSWORD_BYTES,
    MAX_TEXT_LENGTH,
    MIN_NAME_LENGTH,
    MIN_PASSWORD_LENGTH,
    NAME_PATTERN,
)
from cookcam.features.accounts.models import ProfileChanges
from cookcam.features.literals import rejected_field, visible_line
from cookcam.http import DOCUMENTED_AS_REQUIRED, body_with
from cookcam.text import VISIBLE_PATTERN, clean_prose

PUBLIC_URL_PATTERN: Final = (
    r"^https://(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"(?:[A-Za-z]{2,63}|[Xx][Nn]--[A-Za-z0-9-]{1,59})(?::443)?(?:[/?#][^\s\\\x00-\x1f\x7f]*)?$"
)
"""No user info, and a top-level domain of letters: no spelling of an IPv4 or IPv6 address ends in
one (WHATWG URL, "ends in a number"), and names in other scripts are written in Punycode."""

_PUBLIC_URL = re.compile(PUBLIC_URL_PATTERN.removeprefix("^").removesuffix("$"))
_HOST = re.compile(r"https://([^/?#:]+)")
_LOCAL_SUFFIXES: Final = (
    "alt", "arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain",
    "localhost", "onion", "private",
)  # fmt: skip
"""Top-level domains of no public name (RFC 6761, RFC 6762, RFC 8375, RFC 9476, ICANN's
"internal"), among them the metadata services of clouds."""


def is_public_url(url: str) -> bool:
    """Whether `url` is https on a public host name."""
    host = _HOST.match(url)
    return (
        _PUBLIC_URL.fullmatch(url) is not None
        and host is not None
        and len(host[1]) <= 253
        and host[1].rpartition(".")[2].lower() not in _LOCAL_SUFFIXES
    )


SKILL_LEVELS = {
    "beginner": "beginner",
    "easy": "beginner",
    "intermediate": "intermediate",
    "medium": "intermediate",
    "advanced": "advanced",
    "hard": "advanced",
}


TIMEZONE = "the name of an IANA time zone, such as Europe/Berlin"


@cache
def timezone_names() -> frozenset[str]:
    """IANA names of this machine's time zone database, without `localtime` and `Factory`."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


class Confidential(Struct):
    """A request whose content must not appear in a traceback or a log line."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


_NO_SPACE = r"[^\s@\x00-\x1f\x7f\x85]+"

Email = Annotated[
    str,
    Meta(
        extra_json_schema={
            "maxLength": MAX_EMAIL_LENGTH,
            "pattern": rf"^\s*{_NO_SPACE}@{_NO_SPACE}\.{_NO_SPACE}\s*$",
        }
    ),
    DOCUMENTED_AS_REQUIRED,
]
NewPassword = Annotated[
    str,
    Meta(
        description=f"At most {MAX_PASSWORD_BYTES} bytes in UTF-8.",
        extra_json_schema={
            "minLength": MIN_PASSWORD_LENGTH,
            # A character is one to four bytes, which JSON Schema cannot count: a shorter password
            # may be too long as well.
            "maxLength": MAX_PASSWORD_BYTES,
        },
    ),
    DOCUMENTED_AS_REQUIRED,
]
NewName = Annotated[
    str,
    Meta(
        extra_json_schema={
            "minLength": MIN_NAME_LENGTH,
            "maxLength": MAX_TEXT_LENGTH,
            "pattern": NAME_PATTERN,
        }
    ),
    DOCUMENTED_AS_REQUIRED,
]


class SignUpRequest(Confidential):
    email: Email = ""
    password: NewPassword = ""
    name: NewName = ""

    def __post_init__(self) -> None:
        if not (self.email and self.password and self.name):
            raise rejected_field("Email, password, and name are required", "email")


class LoginRequest(Confidential):
    email: Email = ""
    password: Annotated[str, Meta(extra_json_schema={"minLength": 1}), DOCUMENTED_AS_REQUIRED] = ""

    def __post_init__(self) -> None:
        if not (self.email and self.password):
            raise rejected_field("Email and password are required", "email")


class SessionRefreshRequest(Confidential):
    any_of: ClassVar = (
        body_with(refresh_token={"type": "string", "minLength": 1}),
        body_with(refreshToken={"type": "string", "minLength": 1}),
    )

    refresh_token: str = ""
    refresh_token_camel: str = field(name="refreshToken", default="")

    @property
    def token(self) -> str:
        return self.refresh_token or self.refresh_token_camel

    def __post_init__(self) -> None:
        if not self.token:
            raise rejected_field("Refresh token is required", "refresh_token")


class ForgotPasswordRequest(Confidential):
    email: Email = ""

    def __post_init__(self) -> None:
        if not self.email:
            raise rejected_field("Email is required", "email")


class NewPasswordRequest(Confidential):
    password: NewPassword = ""

    def __post_init__(self) -> None:
        if not self.password:
            raise rejected_field("Password is required", "password")


ShortText = Annotated[str, Meta(max_length=1000)]
ShortLines = Annotated[
    list[
        Annotated[
            str,
            Meta(min_length=1, max_length=100, extra_json_schema={"pattern": VISIBLE_PATTERN}),
        ]
    ],
    Meta(max_length=100),
]
Servings = Annotated[int, Meta(ge=1, le=50)]
LocalTime = Annotated[
    str,
    Meta(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="HH:MM in the user's time zone. Nothing is pushed between start and end; equal"
        " times mean no quiet hours. Both are set together; null for both clears them.",
    ),
]


class ProfileRequest(Struct):
    """All fields are optional; null means unchanged, except for the quiet hours."""

    name: (
        Annotated[
            str,
            Meta(min_length=2, max_length=100, extra_json_schema={"pattern": NAME_PATTERN}),
        ]
        | None
    ) = None
    avatar_url: (
        Annotated[str, Meta(max_length=2048, extra_json_schema={"pattern": PUBLIC_URL_PATTERN})]
        | None
    ) = None
    is_creator: bool | None = None
    creator_bio: ShortText | None = None
    creator_specialty: ShortText | None = None
    onboarding_completed: bool | None = None
    meal_prep_enabled: bool | None = None
    default_serving_size: Servings | None = None
    default_meal_prep_count: Servings | None = None
    kitchen_appliances: ShortLines | None = None
    dietary_preferences: ShortLines | None = None
    cuisine_preferences: ShortLines | None = None
    cooking_skill_level: (
        Annotated[str, Meta(extra_json_schema={"enum": list(SKILL_LEVELS)})] | None
    ) = None

    timezone: Annotated[str, Meta(max_length=64, description=TIMEZONE)] | None = None
    country: (
        Annotated[
            str,
            Meta(
                pattern="^[A-Z]{2}$",
                max_length=2,
                description="An ISO 3166-1 alpha-2 code, for the leaderboard of a country",
            ),
        ]
        | None
    ) = None
    notifications_enabled: bool | None = None
    notification_preferences: (
        Annotated[
            dict[Annotated[str, Meta(min_length=1, max_length=50)], bool],
            Meta(max_length=50, description="Types of notifications; false turns one off."),
        ]
        | None
    ) = None
    quiet_hours_start: LocalTime | UnsetType | None = UNSET
    quiet_hours_end: LocalTime | UnsetType | None = UNSET
    creator_tier: Annotated[
        Any, Meta(description="Belongs to the server; accepted from older clients and ignored.")
    ] = None

    def __post_init__(self) -> None:
        if self.avatar_url is not None and not is_public_url(self.avatar_url):
            raise ValidationError.of("avatar_url", "must be a public https address")
        if self.timezone is not None and self.timezone not in timezone_names():
            raise ValidationError.of("timezone", f"must be {TIMEZONE}")
        start, end = self.quiet_hours_start, self.quiet_hours_end
        if type(start) is not type(end):
            missing = "end" if isinstance(start, str) or end is UNSET else "start"
            raise ValidationError.of(f"quiet_hours_{missing}", "must be set with the other one")
        if self.cooking_skill_level is not None:
            level = SKILL_LEVELS.get(self.cooking_skill_level.lower())
            if level is None:
                raise rejected_field("Invalid cooking skill level", "cooking_skill_level")
            self.cooking_skill_level = level
        for name in ("creator_bio", "creator_specialty"):
            text: str | None = getattr(self, name)
            if text is not None:
                setattr(self, name, clean_prose(text))
        for name in ("kitchen_appliances", "dietary_preferences", "cuisine_preferences"):
            lines: list[str] | None = getattr(self, name)
            if lines is not None:
                setattr(self, name, [visible_line(line, name) for line in lines])

    def changes(self) -> ProfileChanges:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        del values["creator_tier"]
        given = {name: value for name, value in values.items() if value is not UNSET}
        return ProfileChanges(**given, clears_quiet_hours=self.quiet_hours_start is None)
