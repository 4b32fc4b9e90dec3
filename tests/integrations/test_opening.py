"""Libraries are imported in threads, which a shutdown does not wait for."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from cookcam.config.readers import Secret
from cookcam.integrations import redis
from cookcam.integrations.http_client import LazyHttpClient
from cookcam.integrations.openai.library import Library as OpenAILibrary
from cookcam.integrations.stripe.requests import Library as StripeLibrary


@pytest.mark.parametrize("name", ["http", "stripe", "openai", "redis"])
async def test_cancelling_does_not_wait_for_an_import(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, finished = threading.Event(), threading.Event()

    def slow_import(*_: Any) -> Any:
        released.wait(5)
        finished.set()

    monkeypatch.setattr(StripeLibrary, "_open", slow_import)
    monkeypatch.setattr(OpenAILibrary, "_open", slow_import)
    monkeypatch.setattr(redis, "_import_library", slow_import)
    async with redis.Redis.open("redis://127.0.0.1:9") as shared:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "http": LazyHttpClient(slow_import).get,
            "stripe": StripeLibrary(Secret("sk_test_1"), "http://127.0.0.1:9").client,
            "openai": OpenAILibrary(Secret("k"), "http://127.0.0.1:9/v1", 1).client,
            "redis": lambda: shared.get("key"),
        }
        with trio.move_on_after(0.05):
            await calls[name]()
        assert not finished.is_set()
        released.set()
