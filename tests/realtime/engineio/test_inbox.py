from __future__ import annotations

import trio
import trio.testing

from cookcam.realtime.engineio.inbox import Inbox


async def test_who_brings_more_than_fits_waits(autojump_clock):
    inbox = Inbox(2)
    taken: list[str | bytes] = []

    async def bring() -> None:
        for number in range(5):
            await inbox.put(str(number))
        inbox.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring)
        await trio.testing.wait_all_tasks_blocked()
        async for message in inbox:
            taken.append(message)
            await trio.sleep(1)
    assert taken == ["0", "1", "2", "3", "4"]


async def test_closing_ends_both_sides(autojump_clock):
    inbox = Inbox(1)

    async def bring() -> None:
        await inbox.put("kept")
        await inbox.put("dropped")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring)
        await trio.testing.wait_all_tasks_blocked()
        inbox.close()
    assert [message async for message in inbox] == ["kept"]
    await inbox.put("too late")
    assert [message async for message in inbox] == []


async def test_who_takes_waits_for_something(autojump_clock):
    inbox = Inbox(1)
    taken: list[str | bytes] = []

    async def take() -> None:
        taken.extend([message async for message in inbox])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        for message in ("a", b"b"):
            await trio.sleep(1)
            await inbox.put(message)
        inbox.close()
    assert taken == ["a", b"b"]
