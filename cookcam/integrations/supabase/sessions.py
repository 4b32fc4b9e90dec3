"""Users and sessions of Supabase Auth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from attrs import field, frozen


@frozen
class AuthUser:
    """An account at the identity provider.

    `wire` is the provider's user object as JSON without empty fields, as it is sent to the app.
    """

    id: UUID
    email: str | None = field(repr=False)
    app_metadata: Mapping[str, Any] = field(repr=False)
    user_metadata: Mapping[str, Any] = field(repr=False)
    wire: Mapping[str, Any] = field(repr=False, eq=False)


@frozen
class AuthSession:
    """A signed-in session: `expires_in` in seconds, `expires_at` in seconds since the epoch."""

    user: AuthUser
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_type: str
    expires_in: int
    expires_at: int


@frozen
class SignedUp:
    """A new account; `session` is None until its e-mail address is confirmed."""

    user: AuthUser
    session: AuthSession | None
