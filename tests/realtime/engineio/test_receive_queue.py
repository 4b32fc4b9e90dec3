from __future__ import annotations

import trio
import trio.testing

from cookcam.realtime.engineio.session import ReceiveQueue


async def test_put_waits_while_the_queue_is_full(autojump_clock):
    queue = ReceiveQueue(2)
    taken: list[str | bytes] = []

    async def bring() -> None:
        for number in range(5):
            await queue.put(str(number))
        queue.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring)
        await trio.testing.wait_all_tasks_blocked()
        async for message in queue:
            taken.append(message)
            await trio.sleep(1)
    assert taken == ["0", "1", "2", "3", "4"]


async def test_closing_ends_both_sides(autojump_clock):
    queue = ReceiveQueue(1)

    async def bring() -> None:
        await queue.put("kept")
        await queue.put("dropped")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring)
        await trio.testing.wait_all_tasks_blocked()
        queue.close()
    assert [message async for message in queue] == ["kept"]
    await queue.put("too late")
    assert [message async for message in queue] == []


async def test_consumer_waits_for_a_message(autojump_clock):
    queue = ReceiveQueue(1)
    taken: list[str | bytes] = []

    async def take() -> None:
        taken.extend([message async for message in queue])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        for message in ("a", b"b"):
            await trio.sleep(1)
            await queue.put(message)
        queue.close()
    assert taken == ["a", b"b"]


async def test_queue_is_empty_when_the_last_message_is_handled(autojump_clock):
    queue = ReceiveQueue(2)

    async def take() -> None:
        async for _ in queue:
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await queue.put("one")
        await queue.put("two")
        await queue.emptied()
        assert trio.current_time() == 2
        await queue.put("three")
        nursery.start_soon(queue.emptied)
        await trio.testing.wait_all_tasks_blocked()
        queue.close()  # nobody waits for what is left
        await queue.emptied()
        assert trio.current_time() == 2
