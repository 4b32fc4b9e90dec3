"""The server of the socket benchmarks: the live channel of the product behind its edge, on a port.

Commands are lines of JSON on standard input; each is answered with a line when it is done, with
the seconds of CPU it took and those used before it. The same lines drive
`bench_broadcast_server.mjs`. At the end of the input the server ends.

    {"tokens": 5}                            access tokens of so many users
    {"broadcasts": 200, "per_second": 20}    0 for all at once
    {"hold": 60}                             does nothing for so many seconds
    {"report": true}                         has the clients say what they received
    {"measure": true}                        memory of this process, in bytes
    {"drain": true}                          shuts down as on SIGTERM; the last command
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import trio

from tests.support.realtime import ApiUser, Live, open_live, serving
from tests.support.socket_crowd import allow_descriptors

MANY = {
    "SOCKET_MAX_PER_USER": "1000000",
    "SOCKET_HANDSHAKES_PER_MINUTE": "1000000",
}
TEXT = "Ann has finished cooking: Spaghetti with tomatoes, basil and a lot of garlic"
DIRECT = "cookcam.websocket.direct"


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


async def broadcast(live: Live, count: int, per_second: float) -> None:
    began = trio.current_time()
    for number in range(count):
        if per_second:
            await trio.sleep_until(began + number / per_second)
        live.hub.broadcast("tick", {"at": time.monotonic_ns(), "text": TEXT})


async def obey(live: Live, command: dict[str, Any]) -> dict[str, Any]:
    if "tokens" in command:
        return {"tokens": [live.token(ApiUser()) for _ in range(command["tokens"])]}
    if "broadcasts" in command:
        await broadcast(live, command["broadcasts"], command["per_second"])
    elif "hold" in command:
        await trio.sleep(command["hold"])
    elif "report" in command:
        live.hub.broadcast("report", {})
    elif "measure" in command:
        return {"bytes": resident(), "tasks": trio.lowlevel.current_statistics().tasks_living}
    elif "drain" in command:
        await live.shut_down()
    return {}


async def serve(options: argparse.Namespace) -> None:
    settings: dict[str, Any] = {
        **MANY,
        "SOCKET_PING_INTERVAL_SECONDS": str(options.ping_interval),
    }
    async with open_live(now=time.time, **settings) as live:
        if options.ordinary:
            live.realtime = _Ordinary(live.realtime)  # type: ignore[assignment]
        async with serving(live) as address:
            await _answer_commands(live, address)


class _Ordinary:
    """The live channel without the extension that writes directly."""

    def __init__(self, realtime: Any) -> None:
        self._realtime = realtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._realtime, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"].pop(DIRECT, None)
        await self._realtime(scope, receive, send)


async def _answer_commands(live: Live, address: str) -> None:
    _say({"port": int(address.rpartition(":")[2])})
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        began, used = time.monotonic(), cpu()
        response = await obey(live, json.loads(line))
        seconds = time.monotonic() - began
        _say({**response, "seconds": seconds, "cpu": cpu() - used, "cpu_before": used})


def _say(response: dict[str, Any]) -> None:
    print(json.dumps(response), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ordinary", action="store_true")
    parser.add_argument("--ping-interval", type=float, default=25.0)
    allow_descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    trio.run(serve, parser.parse_args())


if __name__ == "__main__":
    main()
