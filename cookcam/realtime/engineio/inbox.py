"""The bounded queue between a transport and its handler: whoever brings more than fits waits,
so that a handler that is behind slows its own client down and nobody else.

A memory channel does the same at four times the size, which every idle session would pay.
"""

from __future__ import annotations

import trio
from attrs import define, field


@define(eq=False)
class Inbox:
    """One handler takes, by iterating; iteration ends when the inbox is closed and empty."""

    limit: int
    _messages: list[str | bytes] = field(factory=list[str | bytes], init=False)
    _closed: bool = field(default=False, init=False)
    _arrived: trio.Event | None = field(default=None, init=False)
    _taken: trio.Event | None = field(default=None, init=False)
    _idle: trio.Event | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self._messages)

    async def put(self, message: str | bytes) -> None:
        """Waits for room. A closed inbox takes nothing more, and does not complain."""
        while len(self._messages) >= self.limit and not self._closed:
            if self._taken is None:
                self._taken = trio.Event()
            await self._taken.wait()
        if not self._closed:
            self._messages.append(message)
            self._notify()

    async def emptied(self) -> None:
        """Waits until the handler has taken everything and is back for more, or it is closed."""
        while not self._closed and (self._messages or self._arrived is None):
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def close(self) -> None:
        self._closed = True
        self._rest()
        self._notify()
        self._make_room()

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            self._rest()
            await self._arrived.wait()
        self._make_room()
        return self._messages.pop(0)

    def _notify(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    def _make_room(self) -> None:
        if self._taken is not None:
            self._taken.set()
            self._taken = None
