"""The writer: direct writes, order, and limited bursts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from cookcam.realtime.engineio import Message
from cookcam.realtime.engineio.direct import Close, DirectExtension, encode
from cookcam.realtime.engineio.outbox import Outbox
from cookcam.realtime.engineio.writer import Writer, WriteScheduler

PLENTY = 1 << 30
EXTENSION = DirectExtension("test.direct", {"type": "test.flush"})
GOODBYE = Close(1001, "server shutting down")


def wire(*texts: str) -> bytes:
    return b"".join(Message.of(text).wire for text in texts)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("unit", ["x", b"x"])
def test_a_frame_is_that_of_wsproto(size: int, unit: Any):
    frames = FrameProtocol(client=False, extensions=[])
    assert encode(unit * size) == bytes(frames.send_data(unit * size))


@pytest.mark.parametrize("reason", ["", "server shutting down", "ü" * 100])
def test_a_close_frame_is_that_of_wsproto(reason: str):
    frames = FrameProtocol(client=False, extensions=[])
    assert Close(1001, reason).wire == bytes(frames.close(1001, reason))


def test_a_message_is_encoded_once_and_its_frames_stay_together():
    message = Message.of('51-["cake",{"_placeholder":true,"num":0}]', b"\0\1")
    assert message.wire is message.wire
    assert message.wire == encode(message.frames[0]) + encode(b"\0\1")


def test_server_without_the_extension_is_written_to_through_asgi():
    assert EXTENSION.write_for({}) is None
    assert EXTENSION.write_for({"extensions": {"websocket.http.response": {}}}) is None


@define(eq=False)
class Peer:
    """A connection whose kernel has room for so many bytes more."""

    room: int = PLENTY
    received: bytearray = field(factory=bytearray)
    writes: int = 0
    sent: list[str] = field(factory=list)
    """What went through ASGI."""
    _rest: bytes = b""
    _changed: trio.Event = field(factory=trio.Event)

    def write(self, frames: bytes, *, closing: bool = False) -> int:
        self.writes += 1
        assert closing == frames.endswith(GOODBYE.wire)
        if self._rest:
            return 0
        taken = min(self.room, len(frames))
        self._take(frames[:taken])
        if taken:
            self._rest = frames[taken:]
        return taken

    def give_room(self, size: int) -> None:
        self.room += size
        self._changed.set()
        self._changed = trio.Event()

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])
        if message == EXTENSION.flush:
            data = b""
        else:
            data = GOODBYE.wire if message == GOODBYE.message else encode(message["text"])
        data, self._rest = self._rest + data, b"-"  # a write is in progress
        while data:
            await trio.lowlevel.checkpoint()
            while not self.room:
                await self._changed.wait()
            size = min(self.room, len(data))
            self._take(data[:size])
            data = data[size:]
        self._rest = b""

    def _take(self, data: bytes) -> None:
        self.received += data
        self.room -= len(data)


@define(eq=False)
class Line:
    """An outbox with its writer."""

    outbox: Outbox
    peer: Peer
    writer: Writer
    nursery: trio.Nursery
    closing: bool = False

    @classmethod
    def to(
        cls, peer: Peer, nursery: trio.Nursery, scheduler: WriteScheduler, limit: int = 256
    ) -> Line:
        async def send_message(message: Message) -> None:
            for text in message.frames:
                await peer.send({"type": "websocket.send", "text": text})

        def goodbye() -> Close | None:
            return GOODBYE if line.closing else None

        outbox = Outbox(limit)
        line = cls(
            outbox,
            peer,
            Writer(
                outbox,
                nursery,
                scheduler,
                EXTENSION,
                peer.write,
                peer.send,
                send_message,
                goodbye,
                lambda: None,
            ),
            nursery,
        )
        line.writer.start()
        return line

    @property
    def tasks(self) -> int:
        return len(self.nursery.child_tasks)


@asynccontextmanager
async def line(peer: Peer, burst: int = 128, limit: int = 256) -> AsyncIterator[Line]:
    async with trio.open_nursery() as outer:
        scheduler = WriteScheduler(burst)
        outer.start_soon(scheduler.run)
        async with trio.open_nursery() as nursery:
            made = Line.to(peer, nursery, scheduler, limit)
            await trio.testing.wait_all_tasks_blocked()
            yield made
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()


async def test_what_nothing_waits_for_is_written_before_put_returns(autojump_clock):
    async with line(Peer()) as it:
        assert it.outbox.put(Message.of("now"))
        assert it.peer.received == wire("now")
        assert (it.tasks, len(it.outbox), it.peer.sent) == (0, 0, [])


async def test_what_the_kernel_does_not_take_is_queued_and_sent_in_order(autojump_clock):
    async with line(Peer(room=0)) as it:
        for text in ("one", "two"):
            assert it.outbox.put(Message.of(text))
        await trio.testing.wait_all_tasks_blocked()
        it.peer.give_room(PLENTY)
        await trio.testing.wait_all_tasks_blocked()
        it.outbox.put(Message.of("three"))
        assert it.peer.received == wire("one", "two", "three")
        assert it.peer.sent == ["websocket.send"]  # the second found room


async def test_what_is_taken_in_part_counts_as_written_and_is_flushed(autojump_clock):
    async with line(Peer(room=3), limit=1) as it:
        assert it.outbox.put(Message.of("a longer text"))
        assert len(it.outbox) == 0
        assert it.outbox.put(Message.of("two"))
        assert not it.outbox.put(Message.of("there is no room for this"))
        it.peer.give_room(PLENTY)
        await trio.testing.wait_all_tasks_blocked()
        assert it.peer.received == wire("a longer text", "two")
        assert it.peer.sent == [EXTENSION.flush["type"]]


async def test_what_is_over_the_scheduler_leaves_in_its_turn_and_in_one_write(autojump_clock):
    async with line(Peer(), burst=1) as it:
        for number in range(100):
            it.outbox.put(Message.of(str(number)))
        assert it.peer.received == wire("0")
        await trio.testing.wait_all_tasks_blocked()
        assert it.peer.received == wire(*map(str, range(100)))
        assert (it.peer.writes, it.peer.sent) == (2, [])


async def test_a_burst_is_not_a_slow_reader(autojump_clock):
    """More than the outbox holds, without a checkpoint in between: the kernel takes it."""
    async with line(Peer(), burst=1, limit=8) as it:
        assert all(it.outbox.put(Message.of(str(number))) for number in range(100))
        await trio.testing.wait_all_tasks_blocked()
        assert it.peer.received == wire(*map(str, range(100)))


async def test_a_reader_that_has_stopped_is_one(autojump_clock):
    async with line(Peer(room=0), burst=1, limit=8) as it:
        assert [it.outbox.put(Message.of("x")) for _ in range(9)] == [True] * 8 + [False]


async def test_the_goodbye_comes_last_whatever_was_due(autojump_clock):
    for room in (PLENTY, 0):
        async with line(Peer(room), burst=1) as it:
            for text in ("one", "two", "three"):
                it.outbox.put(Message.of(text))
            it.closing = True
            it.outbox.wake()
            it.peer.give_room(PLENTY)
            await trio.testing.wait_all_tasks_blocked()
            assert it.peer.received == wire("one", "two", "three") + GOODBYE.wire


async def test_goodbye_leaves_in_one_write_with_queued_messages_and_without_a_task(autojump_clock):
    async with line(Peer()) as it:
        it.outbox.put_last([Message.of("last")])
        it.closing = True
        it.outbox.wake()
        assert it.peer.received == wire("last") + GOODBYE.wire
        assert (it.tasks, it.peer.writes, it.peer.sent) == (0, 1, [])
        it.outbox.wake()
        it.outbox.put(Message.of("too late"))
        await trio.testing.wait_all_tasks_blocked()
        assert it.peer.writes == 1


@pytest.mark.parametrize("room", range(len(GOODBYE.wire) + len(wire("last"))))
async def test_a_goodbye_taken_in_part_is_ended(autojump_clock, room: int):
    async with line(Peer(room)) as it:
        it.outbox.put_last([Message.of("last")])
        it.closing = True
        it.outbox.wake()
        await trio.testing.wait_all_tasks_blocked()
        it.peer.give_room(PLENTY)
        await trio.testing.wait_all_tasks_blocked()
        assert it.peer.received == wire("last") + GOODBYE.wire
        assert it.tasks == 0


async def test_pause_after_a_message_is_respected(autojump_clock):
    async with line(Peer()) as it:
        began = trio.current_time()
        it.outbox.put(Message.of("take note", pause_after=2))
        it.outbox.put(Message.of("then this"))
        await trio.sleep(1)
        assert it.peer.received == wire("take note")
        await trio.sleep(1.5)
        assert it.peer.received == wire("take note", "then this")
        assert trio.current_time() - began == 2.5


async def test_after_the_end_nothing_is_written(autojump_clock):
    async with line(Peer(), burst=1) as it:
        it.outbox.put(Message.of("one"))
        it.outbox.put(Message.of("due"))
        it.writer.stop()
        it.outbox.put(Message.of("late"))
        await trio.testing.wait_all_tasks_blocked()
        assert it.peer.received == wire("one")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 400)),
        st.tuples(st.just("room"), st.integers(1, 900)),
        st.tuples(st.just("wait"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 4), st.integers(0, 500))
def test_everything_arrives_whole_and_in_order(
    script: list[tuple[str, int]], burst: int, room: int
):
    async def follow() -> None:
        expected = b""
        async with line(Peer(room), burst, limit=1000) as it:
            for number, (step, size) in enumerate(script):
                if step == "put":
                    text = f"{number}:" + "x" * size
                    assert it.outbox.put(Message.of(text))
                    expected += wire(text)
                elif step == "room":
                    it.peer.give_room(size)
                else:
                    await trio.testing.wait_all_tasks_blocked()
                assert expected.startswith(it.peer.received)
            it.peer.give_room(PLENTY)
            await trio.testing.wait_all_tasks_blocked()
            assert it.peer.received == expected
            assert it.tasks == 0

    trio.run(follow)


async def test_a_broadcast_to_many_lets_others_run_in_between(autojump_clock):
    """Of a thousand receivers at most a burst is written to before anybody else has a turn."""
    done_between: list[int] = []
    async with trio.open_nursery() as nursery:
        scheduler = WriteScheduler(burst=100)
        nursery.start_soon(scheduler.run)
        lines = [Line.to(Peer(), nursery, scheduler) for _ in range(1000)]
        await trio.testing.wait_all_tasks_blocked()

        def reached() -> int:
            return sum(bool(it.peer.received) for it in lines)

        message = Message.of("to all")
        assert all(it.outbox.put(message) for it in lines)
        assert reached() == 100
        while reached() < 1000:
            done_between.append(reached())
            await trio.lowlevel.checkpoint()
        steps = [
            later - earlier
            for earlier, later in zip([0, *done_between], done_between, strict=False)
        ]
        # Two turns of its task may come between two of ours: Trio shuffles.
        assert max(steps) <= 200
        assert all(it.peer.received == message.wire for it in lines)
        nursery.cancel_scope.cancel()


async def test_each_step_has_a_burst_of_its_own(autojump_clock):
    async with line(Peer(), burst=2) as it:
        for number in range(5):
            it.outbox.put(Message.of(str(number)))
            assert it.peer.received == wire(*map(str, range(number + 1)))
            await trio.testing.wait_all_tasks_blocked()
