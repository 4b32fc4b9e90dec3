"""Headless Chromium, driven over the DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import httpx
import trio
from attrs import define, field
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.support.external import require_program

START_TIMEOUT = 60.0

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


@define
class Page:
    """One tab. `messages` are what the browser logged: console lines and policy violations."""

    _socket: WebSocketConnection
    messages: list[str] = field(factory=list[str])
    _numbers: count[int] = field(factory=lambda: count(1))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a DevTools command. Raises RuntimeError for a refused one."""
        number = next(self._numbers)
        await self._socket.send_message(
            json.dumps({"id": number, "method": method, "params": params})
        )
        while True:
            message = json.loads(await self._socket.get_message())
            if message.get("method") == "Log.entryAdded":
                self.messages.append(message["params"]["entry"]["text"])
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(message["error"]["message"])
                return message["result"]

    async def open(self, url: str) -> None:
        await self.call("Log.enable")
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is awaited. Raises RuntimeError if it throws."""
        done = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise RuntimeError(str(done["exceptionDetails"]))
        return done["result"].get("value")

    async def wait_for(self, condition: str) -> Any:
        """The value of an expression once it is true; the caller bounds the time."""
        while not (value := await self.evaluate(condition)):
            await trio.sleep(0.05)
        return value

    async def choose_file(self, selector: str, path: Path) -> None:
        """Gives a file to the file input that the CSS selector finds."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = await self.call("DOM.querySelector", nodeId=root, selector=selector)
        await self.call("DOM.setFileInputFiles", nodeId=node["nodeId"], files=[str(path)])


@contextmanager
def running_chromium(profile: Path, *options: str) -> Iterator[int]:
    """A browser with an empty profile; gives the port of its DevTools. Skips without Chromium."""
    command = [require_program("chromium"), *OPTIONS, f"--user-data-dir={profile}", *options]
    process = subprocess.Popen([*command, "about:blank"], stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield _port(profile / "DevToolsActivePort")
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def open_page(port: int) -> AsyncGenerator[Page]:
    """A tab that shares no cookies and no storage with the browser's other tabs."""
    async with httpx.AsyncClient() as http:
        version = (await http.get(f"http://127.0.0.1:{port}/json/version", timeout=30)).json()
    async with open_websocket_url(version["webSocketDebuggerUrl"]) as socket:
        browser = Page(socket)
        context = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
        target = await browser.call("Target.createTarget", url="about:blank", **context)
        url = f"ws://127.0.0.1:{port}/devtools/page/{target['targetId']}"
        async with open_websocket_url(url, max_message_size=64 * 1024 * 1024) as tab:
            yield Page(tab)


def _port(file: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if found := re.match(r"(\d+)\n", file.read_text()):
                return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"Chromium did not start within {START_TIMEOUT:g} s")
