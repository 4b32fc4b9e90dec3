"""Clients of outside services that are created on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import trio
from attrs import define, field

from cookcam.observability.tracing import TRACEPARENT, current_span

if TYPE_CHECKING:
    import httpx

CLOSE_TIMEOUT = 1.0


async def send_traceparent(request: httpx.Request) -> None:
    """Event hook of a client: continues the current trace at the service."""
    current = current_span()
    if current is not None:
        request.headers[TRACEPARENT] = current.traceparent


T = TypeVar("T")


@define(eq=False)
class Lazy(Generic[T]):
    """Creates one object on the first call and shares it.

    `create` runs in a thread: it imports libraries and reads the trusted certificates.
    """

    create: Callable[[], T]
    created: T | None = field(default=None, init=False, repr=False)
    _creating: trio.Lock = field(factory=trio.Lock, init=False, repr=False)

    async def get(self) -> T:
        if self.created is None:
            async with self._creating:
                if self.created is None:
                    # Abandoned on cancellation: a shutdown must not wait for imports.
                    self.created = await trio.to_thread.run_sync(
                        self.create, abandon_on_cancel=True
                    )
        return self.created


@define(eq=False)
class LazyHttpClient(Lazy["httpx.AsyncClient"]):
    """An HTTP client that is created on first use."""

    async def aclose(self) -> None:
        """Close the client, if it was created, within `CLOSE_TIMEOUT`; also when cancelled."""
        if self.created is not None:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self.created.aclose()
