"""Absent participants: grace periods, idle sessions and restarts, on the virtual clock.

The acceptance cases of live events are in tests/realtime/test_acceptance.py.
"""

from __future__ import annotations

import pytest
import trio

from cookcam.errors import ServiceUnavailable
from cookcam.features.social.cooking.models import SessionNotActive
from cookcam.lifecycle.state import Phase
from tests.support.cooking import CookingProcess, Device

HOUR = 3600.0
LONG = 200.0  # seconds, more than any grace


@pytest.fixture
async def process(nursery) -> CookingProcess:
    return start_timeouts(nursery, CookingProcess())


def start_timeouts(nursery: trio.Nursery, process: CookingProcess) -> CookingProcess:
    nursery.start_soon(process.timeouts.run)
    return process


async def session_with_guest(process: CookingProcess) -> tuple[str, Device, Device]:
    """A session of Ann with Bob in it."""
    ann, bob = process.connect(), process.connect(name="Bob")
    session_id = await process.create(ann)
    await process.cooking.join(bob, session_id)
    ann.take()
    return session_id, ann, bob


async def test_session_ends_when_the_host_is_absent_for_a_minute(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    await process.disconnect(ann)
    await trio.sleep(59)
    assert bob.take() == []
    await trio.sleep(3)
    ended = {"sessionId": session_id, "reason": "Host left the session", "seq": 2}
    assert bob.take() == [("cooking_session_ended", ended)]
    assert bob.rooms == set()
    with pytest.raises(SessionNotActive):
        await process.cooking.join(process.connect(ann.user_id), session_id)
    assert process.cooking.active_sessions() == 0


async def test_participant_absent_for_half_a_minute_is_removed(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    await process.disconnect(bob)
    await trio.sleep(29)
    assert ann.take() == []
    await trio.sleep(3)
    left = {
        "sessionId": session_id,
        "userId": str(bob.user_id),
        "participantCount": 1,
        "seq": 2,
    }
    assert ann.take() == [("user_left_session", left)]


async def test_each_disconnect_starts_a_full_grace_period(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    for _ in range(5):
        await process.disconnect(bob)
        await trio.sleep(20)
        bob = process.connect(bob.user_id)
        await process.cooking.join(bob, session_id)
    assert ann.take() == bob.take() == []


async def test_second_device_in_the_room_keeps_the_user_present(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    tablet = process.connect(bob.user_id)
    await process.cooking.join(tablet, session_id)
    await process.disconnect(bob)
    await trio.sleep(LONG)
    assert ann.take() == []
    assert bob.user_id in process.store.rows[session_id].participants


async def test_second_device_outside_the_room_does_not_keep_the_user_present(
    autojump_clock, process: CookingProcess
) -> None:
    _, ann, bob = await session_with_guest(process)
    process.connect(bob.user_id)
    await process.disconnect(bob)
    await trio.sleep(32)
    assert [event for event, _ in ann.take()] == ["user_left_session"]


async def test_zero_grace_ends_the_session_at_once(autojump_clock) -> None:
    process = CookingProcess(host_grace=0)
    _, ann, bob = await session_with_guest(process)
    await process.disconnect(ann)
    assert [event for event, _ in bob.take()] == ["cooking_session_ended"]


async def test_session_without_events_for_six_hours_expires(autojump_clock) -> None:
    process = CookingProcess()
    session_id, ann, bob = await session_with_guest(process)
    autojump_clock.jump(5 * HOUR)
    await process.timeouts.check_timeouts()
    await process.cooking.send_message(bob, session_id, "still here", "text")
    autojump_clock.jump(5 * HOUR)
    await process.timeouts.check_timeouts()
    assert [event for event, _ in ann.take()] == ["cooking_message"]
    autojump_clock.jump(HOUR)
    await process.timeouts.check_timeouts()
    ended = {"sessionId": session_id, "reason": "Session expired", "seq": 3}
    assert ann.take() == [("cooking_session_ended", ended)]


async def test_client_disconnected_while_joining_is_removed(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, _ = await session_with_guest(process)
    eve = process.connect(name="Eve")
    process.hub.remove(eve)
    await process.cooking.join(eve, session_id)
    assert len(process.store.rows[session_id].participants) == 3
    await trio.sleep(32)
    assert [event for event, _ in ann.take()] == ["user_joined_session", "user_left_session"]


async def test_missed_disconnect_is_found_by_reconcile(
    autojump_clock, process: CookingProcess
) -> None:
    _, ann, bob = await session_with_guest(process)
    process.hub.remove(bob)
    await trio.sleep(60 + 30 + 3)
    assert [event for event, _ in ann.take()] == ["user_left_session"]


async def test_deleted_session_is_closed_for_the_room(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    del process.store.rows[session_id]  # as with the host's account
    await trio.sleep(62)
    assert [event for event, _ in bob.take()] == ["cooking_session_ended"]
    assert ann.rooms == bob.rooms == set()
    assert process.cooking.active_sessions() == 0


async def test_restart_starts_new_grace_periods(
    autojump_clock, process: CookingProcess, nursery
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    await process.cooking.update_step(ann, session_id, 3)
    after = start_timeouts(nursery, process.restarted())
    await trio.sleep(20)
    assert after.cooking.active_sessions() == 1
    session = await after.cooking.join(bob_again := after.connect(bob.user_id), session_id)
    assert (session.current_step, session.seq) == (3, 2)
    await trio.sleep(35)
    await after.cooking.join(after.connect(ann.user_id), session_id)
    await trio.sleep(LONG)
    assert after.store.rows[session_id].participants == (ann.user_id, bob.user_id)
    assert bob_again.take() == []


async def test_users_absent_after_a_restart_are_removed(
    autojump_clock, process: CookingProcess, nursery
) -> None:
    session_id, _, _ = await session_with_guest(process)
    after = start_timeouts(nursery, process.restarted())
    await trio.sleep(32)
    assert len(after.store.rows[session_id].participants) == 1
    await trio.sleep(30)
    assert after.store.rows[session_id].end_reason == "Host left the session"


async def test_shutdown_ends_no_session(autojump_clock, nursery) -> None:
    process = start_timeouts(nursery, CookingProcess(host_grace=0))
    session_id, ann, bob = await session_with_guest(process)
    process.lifecycle.enter(Phase.NOTICE)
    await process.disconnect(ann)
    await process.disconnect(bob)
    await trio.sleep(LONG)
    assert process.store.rows[session_id].participants == (ann.user_id, bob.user_id)


async def test_failing_store_changes_nothing_and_sends_nothing(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    eve = process.connect(name="Eve")
    process.store.failure = ServiceUnavailable()
    with pytest.raises(ServiceUnavailable, match="Failed to join cooking session"):
        await process.cooking.join(eve, session_id)
    with pytest.raises(ServiceUnavailable, match="Failed to create cooking session"):
        await process.create(eve)
    with pytest.raises(ServiceUnavailable):
        await process.cooking.update_step(ann, session_id, 1)
    with pytest.raises(ServiceUnavailable):
        await process.cooking.send_message(bob, session_id, "hello", "text")
    with pytest.raises(ServiceUnavailable):
        await process.cooking.leave(bob, session_id)
    process.store.failure = None
    assert ann.take() == bob.take() == eve.take() == []
    assert bob.rooms == ann.rooms == {session_id}
    assert eve.rooms == set()
    assert process.store.rows[session_id].seq == 1


async def test_idle_time_is_counted_across_restarts(autojump_clock) -> None:
    process = CookingProcess()
    session_id, ann, _ = await session_with_guest(process)
    for hours in (5.0, 0.9, 0.1):
        assert process.store.rows[session_id].is_active
        autojump_clock.jump(hours * HOUR)
        process = process.restarted()
        await process.cooking.join(process.connect(ann.user_id), session_id)
        await process.timeouts.reconcile()
        await process.timeouts.check_timeouts()
    assert process.store.rows[session_id].end_reason == "Session expired"


async def test_recovered_connection_is_in_the_room_without_joining(
    autojump_clock, process: CookingProcess
) -> None:
    session_id, ann, bob = await session_with_guest(process)
    await process.disconnect(bob)
    await trio.sleep(20)
    again = process.connect(bob.user_id)
    await process.timeouts.connection_returned(again, bob.rooms)
    assert again.rooms == {session_id}
    await trio.sleep(LONG)
    assert ann.take() == []
    await process.disconnect(again)
    await trio.sleep(LONG)
    late = process.connect(bob.user_id)
    await process.timeouts.connection_returned(late, again.rooms)
    assert late.rooms == set()
