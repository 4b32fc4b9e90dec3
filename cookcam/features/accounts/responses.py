"""Response models of the account routes.

Older clients read the names in camel case, so tokens are sent in both spellings.
"""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict, cast

from msgspec import UNSET, Struct, UnsetType, field

from cookcam.features.accounts.models import Profile
from cookcam.http.responses import response_from
from cookcam.integrations.supabase.sessions import AuthSession, SignedUp


class AppMetadata(TypedDict):
    """How the user signs in; the identity provider may add keys."""

    provider: NotRequired[str]
    providers: NotRequired[list[str]]


class UserMetadata(TypedDict):
    """What the user said at sign-up; the identity provider may add keys."""

    name: NotRequired[str | None]
    email: NotRequired[str | None]


class AuthUser(TypedDict):
    """The identity provider's user object, which may have more keys."""

    id: NotRequired[str]
    email: NotRequired[str]
    role: NotRequired[str]
    app_metadata: NotRequired[AppMetadata]
    user_metadata: NotRequired[UserMetadata]
    created_at: NotRequired[datetime]


class AuthSessionResponse(Struct):
    """A session as the provider words it."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    expires_at: int
    user: AuthUser

    @classmethod
    def of(cls, session: AuthSession) -> AuthSessionResponse:
        return response_from(cls, session, user=cast("AuthUser", session.user.wire))


class SignUpResponse(Struct):
    """`session` is null, and the tokens are absent, until the e-mail address is confirmed."""

    user: AuthUser
    session: AuthSessionResponse | None
    message: str
    token: str | UnsetType = UNSET
    refresh_token_camel: str | UnsetType = field(name="refreshToken", default=UNSET)
    access_token: str | UnsetType = UNSET
    refresh_token: str | UnsetType = UNSET

    @classmethod
    def of(cls, made: SignedUp) -> SignUpResponse:
        user, session = cast("AuthUser", made.user.wire), made.session
        if session is None:
            return cls(user, None, "Account created. Please confirm your email address.")
        return cls(
            user,
            AuthSessionResponse.of(session),
            "Account created",
            token=session.access_token,
            refresh_token_camel=session.refresh_token,
            access_token=session.access_token,
            refresh_token=session.refresh_token,
        )


class SignInResponse(Struct):
    user: AuthUser
    token: str
    refresh_token_camel: str = field(name="refreshToken")
    access_token: str
    refresh_token: str
    session: AuthSessionResponse
    message: str

    @classmethod
    def of(cls, session: AuthSession) -> SignInResponse:
        return response_from(
            cls,
            session,
            user=cast("AuthUser", session.user.wire),
            token=session.access_token,
            refresh_token_camel=session.refresh_token,
            session=AuthSessionResponse.of(session),
            message="Login successful",
        )


class SessionRefreshResponse(Struct):
    token: str
    refresh_token_camel: str = field(name="refreshToken")
    access_token: str
    refresh_token: str
    expires_in: int
    expires_at: int
    user: AuthUser

    @classmethod
    def of(cls, session: AuthSession) -> SessionRefreshResponse:
        return response_from(
            cls,
            session,
            user=cast("AuthUser", session.user.wire),
            token=session.access_token,
            refresh_token_camel=session.refresh_token,
        )


class MessageResponse(Struct):
    message: str


class SuccessResponse(Struct):
    success: bool
    message: str


class MeResponse(Struct):
    user: Profile


class ProfileUpdateResponse(Struct):
    user: Profile
    message: str


class ProfilePhotoResponse(Struct):
    """The address in the spelling of the app and in that of the row."""

    success: bool
    avatar_url_camel: str = field(name="avatarUrl")
    avatar_url: str
    user: Profile

    @classmethod
    def of(cls, profile: Profile) -> ProfilePhotoResponse:
        url = profile.avatar_url or ""
        return cls(True, url, url, profile)
