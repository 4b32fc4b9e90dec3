"""A shutdown does not wait for the import of a library."""

from __future__ import annotations

import threading

import pytest
import trio

from cookcam.config.secret import Secret
from cookcam.integrations.openai.library import Library


async def test_cancellation_does_not_wait_for_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = threading.Event()
    monkeypatch.setattr(Library, "_open", lambda _library: finish.wait(8))
    library = Library(Secret("key"), "http://127.0.0.1:9/v1", 1)
    try:
        began = trio.current_time()
        with trio.move_on_after(0.05) as scope:
            await library.client()
        assert scope.cancelled_caught
        assert trio.current_time() - began < 5
    finally:
        finish.set()
