"""A load of analytics events: batches at a fixed rate, and which of them were acknowledged."""

from __future__ import annotations

import math
from typing import Any

import orjson
import trio
from attrs import define, field

from tests.support.lean_http import LeanConnection, Rejected, request_bytes
from tests.support.sandbox_process import SandboxProcess

STORED = """
select (event_data ->> 'batch')::int, count(*)::int from analytics_events
where event_type = 'load' group by 1"""


@define
class EventLoad:
    """Batch n holds `size` events whose data names n. `acknowledged` are the batches with a 201."""

    url: str
    token: str
    size: int
    sent: int = 0
    acknowledged: set[int] = field(factory=set[int])

    def _request(self, batch: int) -> bytes:
        event: dict[str, Any] = {
            "event_type": "load",
            "event_data": {"batch": batch, "x": "y" * 80},
        }
        events = [
            {**event, "metadata": {"timestamp": f"{batch}-{number}", "platform": "mobile"}}
            for number in range(self.size)
        ]
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = orjson.dumps({"events": events})
        return request_bytes("POST", f"{self.url}/api/v1/analytics/track", headers, body)

    async def _send(self, turns: trio.MemoryReceiveChannel[int]) -> None:
        """Sends a batch for each turn; ends when the server refuses or stops."""
        try:
            async with LeanConnection.open(self.url) as connection:
                async for batch in turns:
                    await connection.ask(self._request(batch))
                    self.acknowledged.add(batch)
        except (Rejected, OSError, trio.BrokenResourceError):
            return

    async def run(self, batches_a_second: float, connections: int = 8) -> None:
        """Sends until cancelled; batches leave on their own time."""
        sender, turns = trio.open_memory_channel[int](math.inf)
        async with trio.open_nursery() as nursery:
            for _ in range(connections):
                nursery.start_soon(self._send, turns)
            due = trio.current_time()
            while True:
                await sender.send(self.sent)
                self.sent += 1
                due += 1 / batches_a_second
                await trio.sleep_until(due)

    def lost_or_doubled(self, sandbox: SandboxProcess) -> dict[int, int]:
        """The acknowledged batches that are not stored exactly once, with their stored events."""
        stored = dict(sandbox.rows(STORED))
        return {
            batch: stored.get(batch, 0)
            for batch in self.acknowledged
            if stored.get(batch, 0) != self.size
        }
