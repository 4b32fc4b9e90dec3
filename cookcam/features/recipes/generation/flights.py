"""One generation for all who ask for the same at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

import trio
from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class _Flight:
    content: Hashable
    landed: trio.Event = field(factory=trio.Event)
    outcome: Any = None
    failure: Exception | None = None
    arrived: bool = False


@define(eq=False)
class Flights:
    """Runs one function per key at a time, in the task of the first who asks.

    Who asks meanwhile for the same content gets its result, or raises what it raised; who asks for
    another waits for their turn. When the first one is cancelled, for instance because its client
    left, the next goes on in its place.
    """

    _flights: dict[Hashable, _Flight] = field(factory=dict[Hashable, _Flight], init=False)

    async def join(self, key: Hashable, content: Hashable, run: Callable[[], Awaitable[T]]) -> T:
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.content == content and flight.failure is not None:
                raise flight.failure
            if flight.content == content and flight.arrived:
                return cast("T", flight.outcome)
        flight = self._flights[key] = _Flight(content)
        try:
            outcome = flight.outcome = await run()
            flight.arrived = True
        except Exception as failure:
            flight.failure = failure
            raise
        finally:
            del self._flights[key]
            flight.landed.set()
        return outcome
