"""Caches the access token that our requests to a provider carry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from attrs import define, field

if TYPE_CHECKING:
    import httpx


@define(eq=False)
class BearerTokens:
    """One shared token, renewed after `lifetime` seconds.

    The first caller gets it from `create`, and raises its errors, while the others wait.
    """

    create: Callable[[], Awaitable[str]]
    lifetime: float
    _token: str | None = field(default=None, init=False, repr=False)
    _valid_until: float = field(default=0.0, init=False)
    _creating: trio.Lock = field(factory=trio.Lock, init=False)

    async def get(self) -> str:
        async with self._creating:
            if self._token is None or trio.current_time() >= self._valid_until:
                self._token = await self.create()
                self._valid_until = trio.current_time() + self.lifetime
            return self._token

    async def send(
        self,
        request: Callable[[str], Awaitable[httpx.Response]],
        is_token_rejected: Callable[[httpx.Response], bool],
    ) -> httpx.Response:
        """Sends a request with the token; once more with a new token if it is rejected, since it
        may have been revoked, or clocks differ."""
        token = await self.get()
        response = await request(token)
        if is_token_rejected(response):
            if self._token == token:
                self._token = None
            response = await request(await self.get())
        return response
