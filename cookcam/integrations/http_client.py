"""An HTTP client that is created on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
from attrs import define, field

if TYPE_CHECKING:
    import httpx

CLOSE_TIMEOUT = 1.0


@define(eq=False)
class LazyHttpClient:
    """Creates one HTTP client on the first call and shares it.

    `create` runs in a thread: it imports httpx and reads the trusted certificates.
    """

    create: Callable[[], httpx.AsyncClient]
    _client: httpx.AsyncClient | None = field(default=None, init=False, repr=False)
    _creating: trio.Lock = field(factory=trio.Lock, init=False, repr=False)

    async def get(self) -> httpx.AsyncClient:
        if self._client is None:
            async with self._creating:
                if self._client is None:
                    # Abandoned on cancellation: a shutdown must not wait for imports.
                    self._client = await trio.to_thread.run_sync(
                        self.create, abandon_on_cancel=True
                    )
        return self._client

    async def aclose(self) -> None:
        """Close the client, if it was created, within `CLOSE_TIMEOUT`; also when cancelled."""
        if self._client is not None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._client.aclose()
