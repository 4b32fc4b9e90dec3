"""What is loaded when, after the first connection."""

from __future__ import annotations

import trio
from attrs import define, field
from trio.testing import MockClock

from cookcam.app.readiness import RUSH, warm_up


@define
class Client:
    loads: list[tuple[str, float]] = field(repr=False)
    name: str

    async def warm_up(self) -> None:
        began = trio.current_time()
        await trio.sleep(1)
        self.loads.append((self.name, began))


async def test_one_after_the_other_and_what_has_time_after_the_rush(
    autojump_clock: MockClock,
) -> None:
    loads: list[tuple[str, float]] = []
    start = trio.current_time()
    await warm_up([Client(loads, "identity"), Client(loads, "payments")], [Client(loads, "models")])
    assert loads == [("identity", start), ("payments", start + 1), ("models", start + 2 + RUSH)]
