"""What is loaded when, after the first connection."""

from __future__ import annotations

import subprocess
import sys

import trio
from attrs import define, field
from trio.testing import MockClock

from cookcam.app.readiness import WARM_UP_DELAY, warm_up


@define
class Client:
    loads: list[tuple[str, float]] = field(repr=False)
    name: str

    async def warm_up(self) -> None:
        began = trio.current_time()
        await trio.sleep(1)
        self.loads.append((self.name, began))


async def test_clients_are_warmed_up_in_order_and_the_others_after_the_delay(
    autojump_clock: MockClock,
) -> None:
    loads: list[tuple[str, float]] = []
    start = trio.current_time()
    await warm_up([Client(loads, "identity"), Client(loads, "payments")], [Client(loads, "models")])
    assert loads == [
        ("identity", start),
        ("payments", start + 1),
        ("models", start + 2 + WARM_UP_DELAY),
    ]


def test_libraries_of_outside_services_are_not_loaded_at_the_start() -> None:
    program = "import cookcam.app.process, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    late = {"jwt", "cryptography", "pydantic", "supabase_auth", "stripe", "openai", "PIL"}
    assert late.isdisjoint(done.stdout.decode().split())
