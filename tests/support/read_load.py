"""A process that reads one address of a server and costs the machine little.

    python -m tests.support.read_load URL CONNECTIONS [RATE]

Reads as fast as the answers come, or RATE a second: those leave on their own time, whether or not
the ones before were answered, as long as a connection is free. Ends when its input ends, and prints
how many reads a second were answered. Any answer but 200 ends it with an error.
"""

from __future__ import annotations

import math
import os
import sys

import trio
from attrs import define

from tests.support.lean_http import LeanConnection, request_bytes


@define
class Reads:
    """One address, read over and over."""

    url: str
    answered: int = 0

    async def on_one_connection(self, turns: trio.MemoryReceiveChannel[None] | None) -> None:
        """A read for each turn, or one after the other without end."""
        request = request_bytes("GET", self.url)
        async with LeanConnection.open(self.url) as connection:
            while True:
                if turns is not None:
                    await turns.receive()
                await connection.ask(request)
                self.answered += 1


async def give_turns(turns: trio.MemorySendChannel[None], rate: float) -> None:
    due = trio.current_time()
    while True:
        await turns.send(None)
        due += 1 / rate
        await trio.sleep_until(due)


async def until_input_ends() -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        while await stdin.receive_some():
            pass


async def run(url: str, connections: int, rate: float | None) -> None:
    reads = Reads(url)
    async with trio.open_nursery() as nursery:
        turns = None
        if rate is not None:
            sender, turns = trio.open_memory_channel[None](math.inf)
            nursery.start_soon(give_turns, sender, rate)
        began = trio.current_time()
        for _ in range(connections):
            nursery.start_soon(reads.on_one_connection, turns)
        await until_input_ends()
        seconds = trio.current_time() - began
        nursery.cancel_scope.cancel()
    sys.stdout.write(f"{reads.answered / seconds}\n")


if __name__ == "__main__":
    trio.run(run, sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if sys.argv[3:] else None)
