"""What the account routes answer with (`spec/http-api-core.md` §6).

Field names in camel case are those of older clients; tokens are sent in both spellings.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cookcam.features.accounts.models import Profile
from cookcam.providers.sessions import AuthSession, SignedUp

AuthUserJson = Annotated[
    dict[str, Any],
    Meta(
        title="AuthUser",
        description="The identity provider's user object.",
        extra_json_schema={
            "properties": {
                "id": {"type": "string", "format": "uuid"},
                "email": {"type": "string"},
                "role": {"type": "string"},
                "app_metadata": {"type": "object"},
                "user_metadata": {"type": "object"},
                "created_at": {"type": "string", "format": "date-time"},
            }
        },
    ),
]


class SessionAnswer(Struct):
    """A session as the provider words it."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    expires_at: int
    user: AuthUserJson

    @classmethod
    def of(cls, session: AuthSession) -> SessionAnswer:
        return cls(
            session.access_token,
            session.refresh_token,
            session.token_type,
            session.expires_in,
            session.expires_at,
            dict(session.user.wire),
        )


class SignedUpAnswer(Struct):
    """`session` is null, and the tokens are absent, until the e-mail address is confirmed."""

    user: AuthUserJson
    session: SessionAnswer | None
    message: str
    token: str | UnsetType = UNSET
    refresh_token_camel: str | UnsetType = field(name="refreshToken", default=UNSET)
    access_token: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET

    @classmethod
    def of(cls, made: SignedUp) -> SignedUpAnswer:
        user, session = dict(made.user.wire), made.session
        if session is None:
            return cls(user, None, "Account created. Please confirm your email address.")
        return cls(
            user,
            SessionAnswer.of(session),
            "Account created",
            token=session.access_token,
            refresh_token_camel=session.refresh_token,
            access_token=session.access_token,
            refresh_token=session.refresh_token,
        )


class SignedInAnswer(Struct):
    user: AuthUserJson
    token: str
    refresh_token_camel: str = field(name="refreshToken")
    access_token: str
    refresh_token: str
    session: SessionAnswer
    message: str

    @classmethod
    def of(cls, session: AuthSession) -> SignedInAnswer:
        return cls(
            dict(session.user.wire),
            session.access_token,
            session.refresh_token,
            session.access_token,
            session.refresh_token,
            SessionAnswer.of(session),
            "Login successful",
        )


class RefreshedAnswer(Struct):
    token: str
    refresh_token_camel: str = field(name="refreshToken")
    access_token: str
    refresh_token: str
    expires_in: int
    expires_at: int
    user: AuthUserJson

    @classmethod
    def of(cls, session: AuthSession) -> RefreshedAnswer:
        return cls(
            session.access_token,
            session.refresh_token,
            session.access_token,
            session.refresh_token,
            session.expires_in,
            session.expires_at,
            dict(session.user.wire),
        )


class MessageAnswer(Struct):
    message: str


class DoneAnswer(Struct):
    success: bool
    message: str


class MeAnswer(Struct):
    user: Profile


class ProfileChangedAnswer(Struct):
    user: Profile
    message: str


class PhotoAnswer(Struct):
    """The address in the spelling of the app and in that of the row."""

    success: bool
    avatar_url_camel: str = field(name="avatarUrl")
    avatar_url: str
    user: Profile

    @classmethod
    def of(cls, profile: Profile) -> PhotoAnswer:
        url = profile.avatar_url or ""
        return cls(True, url, url, profile)
