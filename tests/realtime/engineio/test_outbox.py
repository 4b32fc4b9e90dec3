from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cookcam.realtime.engineio.outbox import Message, Outbox

KEEP = "keep"
DROP = "drop"


def fill(outbox: Outbox, *kinds: str) -> list[bool]:
    return [
        outbox.put(Message.of(f"{kind}{index}", volatile=kind == DROP))
        for index, kind in enumerate(kinds)
    ]


def drained(outbox: Outbox) -> list[str]:
    return [str(frame)[1:] for frame in outbox.take_all()]


def test_messages_leave_in_the_order_they_came():
    outbox = Outbox(3)
    assert fill(outbox, KEEP, DROP, KEEP) == [True] * 3
    assert outbox.take() is not None
    assert drained(outbox) == ["drop1", "keep2"]
    assert outbox.take() is None


def test_a_full_outbox_gives_up_the_oldest_volatile_message_first():
    outbox = Outbox(3)
    fill(outbox, KEEP, DROP, DROP, KEEP)
    assert drained(outbox) == ["keep0", "drop2", "keep3"]


def test_outbox_full_of_non_volatile_messages_rejects_all():
    outbox = Outbox(2)
    assert fill(outbox, KEEP, KEEP, KEEP, DROP) == [True, True, False, False]
    assert drained(outbox) == ["keep0", "keep1"]


def test_protocol_packets_are_not_counted():
    outbox = Outbox(1)
    fill(outbox, KEEP)
    outbox.put_control(Message.control("2"))
    assert outbox.take_all() == ["4keep0", "2"]


def test_the_frames_of_a_message_stay_together():
    outbox = Outbox(1)
    outbox.put(Message.of("head", b"tail", volatile=True))
    outbox.put(Message.of("next"))
    assert outbox.take_all() == ["4next"]


@given(st.lists(st.sampled_from([KEEP, DROP, "take"])), st.integers(1, 5))
def test_non_volatile_messages_are_never_dropped_silently(steps, limit):
    outbox = Outbox(limit)
    accepted: list[str] = []
    seen: list[str] = []
    for index, step in enumerate(steps):
        if step == "take":
            message = outbox.take()
            seen += [str(frame)[1:] for frame in message.frames] if message else []
        elif outbox.put(Message.of(f"{step}{index}", volatile=step == DROP)) and step == KEEP:
            accepted.append(f"{step}{index}")
        assert len(outbox) <= limit
    seen += drained(outbox)
    assert [name for name in seen if name.startswith(KEEP)] == accepted


def test_consumer_is_called_for_every_change():
    outbox = Outbox(1)
    calls: list[int] = []
    outbox.put(Message.of("before"))
    outbox.on_change = lambda: calls.append(len(outbox))
    outbox.put(Message.of("refused"))
    assert calls == []
    outbox.put_control(Message.control("2"))
    outbox.wake()
    outbox.take_all()
    outbox.put(Message.of("after"))
    assert calls == [2, 2, 1]
