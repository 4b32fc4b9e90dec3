from __future__ import annotations

import trio
import trio.testing

from cookcam.realtime.engineio.session import ReceiveQueue


async def test_who_brings_more_than_fits_waits(autojump_clock):
    inbox = ReceiveQueue(2)
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
    inbox = ReceiveQueue(1)

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
    inbox = ReceiveQueue(1)
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


async def test_it_is_emptied_when_the_last_message_has_been_dealt_with(autojump_clock):
    inbox = ReceiveQueue(2)

    async def take() -> None:
        async for _ in inbox:
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await inbox.put("one")
        await inbox.put("two")
        await inbox.emptied()
        assert trio.current_time() == 2
        await inbox.put("three")
        nursery.start_soon(inbox.emptied)
        await trio.testing.wait_all_tasks_blocked()
        inbox.close()  # nobody waits for what is left
        await inbox.emptied()
        assert trio.current_time() == 2
