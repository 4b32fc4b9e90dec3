"""Limits for failed sign-ins that do not let other clients lock an owner out.

Three limits apply: attempts per client address (declared on the route), failures per address and
account, and failures per account. The first two reject. The last one only delays, the correct
password as well, so that guessing from many addresses is slow.
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
"""Seconds added to a sign-in for an account over its failure limit."""


@asynccontextmanager
async def limited_sign_in(email: str) -> AsyncGenerator[None]:
    """Wraps a password check: counts InvalidCredentials; success resets the count of the address.

    `email` as returned by `checked_email`. Raises LimitReached (429).
    """
    current_request_info().attempted_account = email
    pair = f"{quota_key(current_request_info().client_address)} {email}"
    await spend(WRONG_PASSWORDS_OF_PAIR, pair, count=False)
    if await is_used_up(WRONG_PASSWORDS_OF_ACCOUNT, email):
        await trio.sleep(ACCOUNT_DELAY)
    try:
        yield
    except InvalidCredentials:
        if not await is_used_up(WRONG_PASSWORDS_OF_ACCOUNT, email):
            await spend(WRONG_PASSWORDS_OF_ACCOUNT, email)
        if not await is_used_up(WRONG_PASSWORDS_OF_PAIR, pair):
            await spend(WRONG_PASSWORDS_OF_PAIR, pair)
        raise
    await forget(WRONG_PASSWORDS_OF_PAIR, pair)
