"""A forgotten password: the identity provider mails a link, and what it opens may set a new one.

Source: `spec/http-api-core.md` §19.
"""

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

AT_LEAST: Final = 1.0
"""Seconds that an answer takes, so that the sending of a mail does not show in it."""

GOOD_FOR: Final = timedelta(hours=1)
"""How long after the link was opened (`spec/http-api-core.md` §15.3)."""

BY_MAIL: Final = frozenset({"otp", "recovery", "magiclink"})
"""How somebody signed in who has followed a link, in the `amr` claim of GoTrue's tokens."""

NOT_GOOD = "Invalid or expired recovery token"


@frozen
class Recovery:
    """`landing` is the page of the website that the link leads to, with the session in its
    fragment. `now` is UTC."""

    provider: SupabaseAuth
    landing: str
    now: Callable[[], datetime]

    async def begin(self, email: str) -> None:
        """The same for everybody, whether they have an account or not, and as long.

        `email` as `checked_email` returns it. Raises ServiceUnavailable when the provider is away.
        """
        began = trio.current_time()
        await self.provider.recover(email, self.landing)
        await trio.sleep_until(began + AT_LEAST)

    async def finish(self, caller: Identity, token: str, password: str) -> None:
        """A new password for who has followed a link of late; all other sessions end.

        A session that a password opened is not enough: whoever steals one would own the account.
        Raises AuthenticationError, ValidationError.
        """
        if not self._came_by_mail(caller):
            raise AuthenticationError(NOT_GOOD, error=NOT_GOOD)
        checked_new_password(password)
        try:
            await self.provider.change_password(token, password)
        except PasswordRejected as refused:
            raise ValidationError(refused.message, error=refused.message) from None
        except AuthenticationError:
            raise AuthenticationError(NOT_GOOD, error=NOT_GOOD) from None

    def _came_by_mail(self, caller: Identity) -> bool:
        methods: object = caller.claims.get("amr")
        if not isinstance(methods, list):
            return False
        return any(self._is_recent_link(entry) for entry in cast("list[object]", methods))

    def _is_recent_link(self, entry: object) -> bool:
        if not isinstance(entry, dict):
            return False
        told = cast("dict[str, Any]", entry)
        at: object = told.get("timestamp")
        if told.get("method") not in BY_MAIL or not isinstance(at, int):
            return False
        return self.now() - datetime.fromtimestamp(at, UTC) <= GOOD_FOR
