"""Password recovery: the identity provider mails a link whose session may set a new password."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import trio
from attrs import frozen

from cookcam.errors import AuthenticationError, ValidationError
from cookcam.features.accounts.credentials import checked_new_password
from cookcam.identity import Identity
from cookcam.integrations.supabase.auth_errors import PasswordRejected
from cookcam.integrations.supabase.client import SupabaseAuth

MIN_RESPONSE_TIME: Final = 1.0
"""Minimum seconds of a response, so that its time does not show whether a mail was sent."""

LINK_LIFETIME: Final = timedelta(hours=1)
"""How long a session from a mailed link may set a password."""

LINK_METHODS: Final = frozenset({"otp", "recovery", "magiclink"})
"""Values of the `amr` claim of GoTrue's tokens for a sign-in by a mailed link."""

INVALID_LINK = "Invalid or expired recovery token"


@frozen
class Recovery:
    """`landing` is the URL that the link opens, with the session in its fragment; `now` is UTC."""

    provider: SupabaseAuth
    landing: str
    now: Callable[[], datetime]

    async def begin(self, email: str) -> None:
        """Request the mail. Result and duration are the same for addresses without an account.

        `email` as returned by `checked_email`. Raises ServiceUnavailable.
        """
        began = trio.current_time()
        await self.provider.recover(email, self.landing)
        await trio.sleep_until(began + MIN_RESPONSE_TIME)

    async def finish(self, caller: Identity, token: str, password: str) -> None:
        """Set a new password and end all other sessions.

        Requires a session from a recent mailed link: a stolen ordinary session must not be enough
        to take over the account.
        Raises AuthenticationError, ValidationError.
        """
        if not self._followed_recent_link(caller):
            raise AuthenticationError(INVALID_LINK, error=INVALID_LINK)
        checked_new_password(password)
        try:
            await self.provider.change_password(token, password)
        except PasswordRejected as rejection:
            raise ValidationError(rejection.message, error=rejection.message) from None
        except AuthenticationError:
            raise AuthenticationError(INVALID_LINK, error=INVALID_LINK) from None

    def _followed_recent_link(self, caller: Identity) -> bool:
        methods: object = caller.claims.get("amr")
        if not isinstance(methods, list):
            return False
        return any(self._is_recent_link(entry) for entry in cast("list[object]", methods))

    def _is_recent_link(self, entry: object) -> bool:
        if not isinstance(entry, dict):
            return False
        method = cast("dict[str, Any]", entry)
        at: object = method.get("timestamp")
        if method.get("method") not in LINK_METHODS or not isinstance(at, int):
            return False
        return self.now() - datetime.fromtimestamp(at, UTC) <= LINK_LIFETIME
