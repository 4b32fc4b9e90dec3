"""Who may be away for how long: graces, idle sessions, restarts, on the virtual clock.

The rows of `spec/realtime.md` §11 are in tests/realtime/test_acceptance.py.
"""

from __future__ import annotations

import pytest
import trio

from cookcam.errors import ServiceUnavailable
from cookcam.features.cooking.models import SessionNotActive
from cookcam.lifecycle.state import Phase
from tests.features.cooking_stage import Device, Stage

HOUR = 3600.0
LONG = 200.0  # seconds, more than any grace


@pytest.fixture
async def stage(nursery) -> Stage:
    return start(nursery, Stage())


def start(nursery: trio.Nursery, stage: Stage) -> Stage:
    nursery.start_soon(stage.attendance.run)
    return stage


async def together(stage: Stage) -> tuple[str, Device, Device]:
    """A session of Ann with Bob in it."""
    ann, bob = stage.connect(), stage.connect(name="Bob")
    session_id = await stage.create(ann)
    await stage.cooking.join(bob, session_id)
    ann.take()
    return session_id, ann, bob


async def test_a_host_that_does_not_return_ends_the_session_after_a_minute(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, bob = await together(stage)
    await stage.disconnect(ann)
    await trio.sleep(59)
    assert bob.take() == []
    await trio.sleep(3)
    ended = {"sessionId": session_id, "reason": "Host left the session", "seq": 2}
    assert bob.take() == [("cooking_session_ended", ended)]
    assert bob.rooms == set()
    with pytest.raises(SessionNotActive):
        await stage.cooking.join(stage.connect(ann.user_id), session_id)
    assert stage.cooking.active_sessions() == 0


async def test_a_participant_that_does_not_return_leaves_after_half_a_minute(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, bob = await together(stage)
    await stage.disconnect(bob)
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


async def test_drops_in_a_row_are_each_given_the_whole_grace(autojump_clock, stage: Stage) -> None:
    session_id, ann, bob = await together(stage)
    for _ in range(5):
        await stage.disconnect(bob)
        await trio.sleep(20)
        bob = stage.connect(bob.user_id)
        await stage.cooking.join(bob, session_id)
    assert ann.take() == bob.take() == []


async def test_a_second_device_in_the_room_keeps_its_user_there(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, bob = await together(stage)
    tablet = stage.connect(bob.user_id)
    await stage.cooking.join(tablet, session_id)
    await stage.disconnect(bob)
    await trio.sleep(LONG)
    assert ann.take() == []
    assert bob.user_id in stage.store.rows[session_id].participants


async def test_a_second_device_elsewhere_does_not(autojump_clock, stage: Stage) -> None:
    _, ann, bob = await together(stage)
    stage.connect(bob.user_id)
    await stage.disconnect(bob)
    await trio.sleep(32)
    assert [event for event, _ in ann.take()] == ["user_left_session"]


async def test_without_a_grace_a_dropped_host_ends_the_session_at_once(autojump_clock) -> None:
    stage = Stage(host_grace=0)
    _, ann, bob = await together(stage)
    await stage.disconnect(ann)
    assert [event for event, _ in bob.take()] == ["cooking_session_ended"]


async def test_six_hours_without_an_event_end_a_session(autojump_clock) -> None:
    stage = Stage()
    session_id, ann, bob = await together(stage)
    autojump_clock.jump(5 * HOUR)
    await stage.attendance.check_timeouts()
    await stage.cooking.send_message(bob, session_id, "still here", "text")
    autojump_clock.jump(5 * HOUR)
    await stage.attendance.check_timeouts()
    assert [event for event, _ in ann.take()] == ["cooking_message"]
    autojump_clock.jump(HOUR)
    await stage.attendance.check_timeouts()
    ended = {"sessionId": session_id, "reason": "Session expired", "seq": 3}
    assert ann.take() == [("cooking_session_ended", ended)]


async def test_a_client_that_joined_and_left_before_the_answer_is_missed(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, _ = await together(stage)
    eve = stage.connect(name="Eve")
    stage.hub.remove(eve)
    await stage.cooking.join(eve, session_id)
    assert len(stage.store.rows[session_id].participants) == 3
    await trio.sleep(32)
    assert [event for event, _ in ann.take()] == ["user_joined_session", "user_left_session"]


async def test_a_drop_that_nobody_noticed_is_found_by_the_survey(
    autojump_clock, stage: Stage
) -> None:
    _, ann, bob = await together(stage)
    stage.hub.remove(bob)
    await trio.sleep(60 + 30 + 3)
    assert [event for event, _ in ann.take()] == ["user_left_session"]


async def test_a_session_that_vanished_is_closed_for_those_in_the_room(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, bob = await together(stage)
    del stage.store.rows[session_id]  # as with the host's account
    await trio.sleep(62)
    assert [event for event, _ in bob.take()] == ["cooking_session_ended"]
    assert ann.rooms == bob.rooms == set()
    assert stage.cooking.active_sessions() == 0


async def test_a_restart_gives_everybody_time_to_come_back(
    autojump_clock, stage: Stage, nursery
) -> None:
    session_id, ann, bob = await together(stage)
    await stage.cooking.update_step(ann, session_id, 3)
    after = start(nursery, stage.restarted())
    await trio.sleep(20)
    assert after.cooking.active_sessions() == 1
    session = await after.cooking.join(bob_again := after.connect(bob.user_id), session_id)
    assert (session.current_step, session.seq) == (3, 2)
    await trio.sleep(35)
    await after.cooking.join(after.connect(ann.user_id), session_id)
    await trio.sleep(LONG)
    assert after.store.rows[session_id].participants == (ann.user_id, bob.user_id)
    assert bob_again.take() == []


async def test_those_who_stay_away_after_a_restart_are_gone(
    autojump_clock, stage: Stage, nursery
) -> None:
    session_id, _, _ = await together(stage)
    after = start(nursery, stage.restarted())
    await trio.sleep(32)
    assert len(after.store.rows[session_id].participants) == 1
    await trio.sleep(30)
    assert after.store.rows[session_id].end_reason == "Host left the session"


async def test_a_shutdown_ends_nothing(autojump_clock, nursery) -> None:
    stage = start(nursery, Stage(host_grace=0))
    session_id, ann, bob = await together(stage)
    stage.lifecycle.enter(Phase.NOTICE)
    await stage.disconnect(ann)
    await stage.disconnect(bob)
    await trio.sleep(LONG)
    assert stage.store.rows[session_id].participants == (ann.user_id, bob.user_id)


async def test_a_store_that_fails_changes_nothing_and_tells_nobody(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, bob = await together(stage)
    eve = stage.connect(name="Eve")
    stage.store.failure = ServiceUnavailable()
    with pytest.raises(ServiceUnavailable, match="Failed to join cooking session"):
        await stage.cooking.join(eve, session_id)
    with pytest.raises(ServiceUnavailable, match="Failed to create cooking session"):
        await stage.create(eve)
    with pytest.raises(ServiceUnavailable):
        await stage.cooking.update_step(ann, session_id, 1)
    with pytest.raises(ServiceUnavailable):
        await stage.cooking.send_message(bob, session_id, "hello", "text")
    with pytest.raises(ServiceUnavailable):
        await stage.cooking.leave(bob, session_id)
    stage.store.failure = None
    assert ann.take() == bob.take() == eve.take() == []
    assert bob.rooms == ann.rooms == {session_id}
    assert eve.rooms == set()
    assert stage.store.rows[session_id].seq == 1


async def test_six_quiet_hours_are_counted_across_a_restart(autojump_clock) -> None:
    stage = Stage()
    session_id, ann, _ = await together(stage)
    for hours in (5.0, 0.9, 0.1):
        assert stage.store.rows[session_id].is_active
        autojump_clock.jump(hours * HOUR)
        stage = stage.restarted()
        await stage.cooking.join(stage.connect(ann.user_id), session_id)
        await stage.attendance.reconcile()
        await stage.attendance.check_timeouts()
    assert stage.store.rows[session_id].end_reason == "Session expired"


async def test_who_comes_back_by_recovery_is_in_the_room_without_joining(
    autojump_clock, stage: Stage
) -> None:
    session_id, ann, bob = await together(stage)
    await stage.disconnect(bob)
    await trio.sleep(20)
    again = stage.connect(bob.user_id)
    await stage.attendance.connection_returned(again, bob.rooms)
    assert again.rooms == {session_id}
    await trio.sleep(LONG)
    assert ann.take() == []
    await stage.disconnect(again)
    await trio.sleep(LONG)
    late = stage.connect(bob.user_id)
    await stage.attendance.connection_returned(late, again.rooms)
    assert late.rooms == set()
