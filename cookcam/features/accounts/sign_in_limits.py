"""Limits of wrong passwords, under which an owner cannot be locked out by others.

Three limits meet at a sign-in: all attempts of a client address (declared on the route), failures
of one address with one account, and failures of the account from everywhere. The first two reject;
the last only delays, for the right password as well, so that guessing from many addresses is slow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from cookcam.errors import InvalidCredentials
from cookcam.http.client_address import quota_key
from cookcam.http.quotas import forget, is_used_up, spend
from cookcam.http.rate_limit import WRONG_PASSWORDS_OF_ACCOUNT, WRONG_PASSWORDS_OF_PAIR
from cookcam.http.request_info import current_request_info

ACCOUNT_DELAY: Final = 2.0
"""Seconds before an attempt on an account that has used up its failures."""


@asynccontextmanager
async def limited_sign_in(email: str) -> AsyncGenerator[None]:
    """Around the check of a password; counts InvalidCredentials, and forgets the failures of this
    address when the password is right.

    `email` as `checked_email` returns it. Raises LimitReached (429).
    """
    pair = f"{quota_key(current_request_info().client_address)} {email}"
    spend(WRONG_PASSWORDS_OF_PAIR, pair, count=False)
    if is_used_up(WRONG_PASSWORDS_OF_ACCOUNT, email):
        await trio.sleep(ACCOUNT_DELAY)
    try:
        yield
    except InvalidCredentials:
        if not is_used_up(WRONG_PASSWORDS_OF_ACCOUNT, email):
            spend(WRONG_PASSWORDS_OF_ACCOUNT, email)
        if not is_used_up(WRONG_PASSWORDS_OF_PAIR, pair):
            spend(WRONG_PASSWORDS_OF_PAIR, pair)
        raise
    forget(WRONG_PASSWORDS_OF_PAIR, pair)
