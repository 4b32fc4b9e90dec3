"""Cooking sessions against a state machine: no participant is lost and none stays wrongly."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from uuid import UUID, uuid4

import trio
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import MockClock

from cookcam.errors import AppError
from tests.support.cooking import STEPS, CookingProcess, Device

HOST_GRACE, GUEST_GRACE, IDLE = 60, 30, 6 * 3600

people = st.integers(0, 3)
picks = st.integers(0, 1000)


@define
class Expected:
    """A session as it should be."""

    host: UUID
    participants: list[UUID]
    step: int = 0
    away: dict[UUID, float] = field(factory=dict)
    idle_since: float = 0.0


@define
class View:
    """A session in a device's view: the state from the reply, updated by the events since."""

    seq: int
    count: int
    step: int

    def apply(self, event: str, data: dict[str, Any]) -> None:
        assert data["seq"] == self.seq + 1, "an event is missing, or came twice"
        self.seq += 1
        self.count = data.get("participantCount", self.count)
        self.step = data.get("currentStep", self.step)


class CookingMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = MockClock()
        self.now = 0.0
        self.users = [uuid4() for _ in range(4)]
        self.process = CookingProcess()
        self.devices: list[Device] = []
        self.dropped: list[Device] = []
        self.sessions: dict[str, Expected] = {}
        self.ended: list[str] = []
        self.views: dict[tuple[str, str], View] = {}
        # Start with a session of three users, so that the rules have something to act on.
        for who in range(3):
            self.connect(who)
        self.create(0)
        for guest in (1, 2):
            self.join(guest, 0)

    # -- what people do

    @rule(who=people)
    def connect(self, who: int) -> None:
        self.devices.append(self.process.connect(self.users[who]))

    @precondition(lambda self: self.devices)
    @rule(pick=picks)
    def create(self, pick: int) -> None:
        host = self._device(pick)
        hosted = [s for s in self.sessions.values() if s.host == host.user_id]
        session = self._attempt(self.process.cooking.create(host, uuid4(), "T", is_public=True))
        assert (session is None) == (len(hosted) == 3)
        if session is not None:
            made = session[0]
            self.sessions[made.id] = Expected(host.user_id, [host.user_id], idle_since=self.now)
            self.views[host.id, made.id] = View(0, 1, 0)

    @precondition(lambda self: self.devices and self.sessions)
    @rule(pick=picks, which=picks)
    def join(self, pick: int, which: int) -> None:
        device, session_id = self._device(pick), self._session(which)
        session = self._attempt(self.process.cooking.join(device, session_id))
        assert session is not None
        expected = self.sessions[session_id]
        if device.user_id not in expected.participants:
            expected.participants.append(device.user_id)
            expected.idle_since = self.now
        expected.away.pop(device.user_id, None)
        assert list(session.participants) == expected.participants
        self.views[device.id, session_id] = View(
            session.seq, len(session.participants), session.current_step
        )

    @precondition(lambda self: self.devices and self.sessions)
    @rule(pick=picks, which=picks)
    def leave(self, pick: int, which: int) -> None:
        device, session_id = self._device(pick), self._session(which)
        self._run(self.process.cooking.leave(device, session_id))
        expected = self.sessions[session_id]
        others = self._present(session_id)
        if device.user_id == expected.host:
            self._end(session_id)
            return
        self.views.pop((device.id, session_id), None)
        if device.user_id in expected.participants and device.user_id not in others:
            self._remove(expected, device.user_id)

    @precondition(lambda self: self.devices and self.sessions)
    @rule(pick=picks, which=picks, step=st.integers(0, STEPS + 1))
    def update_step(self, pick: int, which: int, step: int) -> None:
        device, session_id = self._device(pick), self._session(which)
        expected = self.sessions[session_id]
        allowed = device.user_id == expected.host and step <= STEPS
        update = self.process.cooking.update_step(device, session_id, step)
        assert self._succeeds(update) == allowed
        if allowed:
            expected.step, expected.idle_since = step, self.now

    @precondition(lambda self: self.devices and self.ended)
    @rule(pick=picks, which=picks)
    def come_late(self, pick: int, which: int) -> None:
        session_id = self.ended[which % len(self.ended)]
        assert self._attempt(self.process.cooking.join(self._device(pick), session_id)) is None

    # -- what happens to them

    @precondition(lambda self: self.devices)
    @rule(pick=picks)
    def drop(self, pick: int) -> None:
        device = self._remove_device(pick)
        self._run(self.process.disconnect(device))
        for session_id in device.rooms:
            self._mark_absent(session_id, device.user_id)
        self.dropped.append(device)

    @precondition(lambda self: self.dropped)
    @rule(pick=picks, after=st.sampled_from([0, 20, 31, 61]))
    def return_(self, pick: int, after: int) -> None:
        """Recovery: the connection is in its rooms again, without joining."""
        before = self.dropped.pop(pick % len(self.dropped))
        self._wait(after)
        self._return(before)

    @precondition(lambda self: self.devices)
    @rule(pick=picks, after=st.sampled_from([0, 20, 31, 61]))
    def drop_and_return(self, pick: int, after: int) -> None:
        self.drop(pick)
        self._wait(after)
        self._return(self.dropped.pop())

    def _return(self, before: Device) -> None:
        device = self.process.connect(before.user_id)
        self.devices.append(device)
        self._run(self.process.timeouts.connection_returned(device, before.rooms))
        still = {
            session_id
            for session_id in before.rooms & self.sessions.keys()
            if device.user_id in self.sessions[session_id].participants
        }
        assert device.rooms == still
        for session_id in still:
            self.sessions[session_id].away.pop(device.user_id, None)
            row = self.process.store.rows[session_id]
            self.views[device.id, session_id] = View(
                row.seq, len(row.participants), row.current_step
            )

    @precondition(lambda self: self.devices)
    @rule(pick=picks)
    def drop_unnoticed(self, pick: int) -> None:
        self.process.hub.remove(self._remove_device(pick))

    @rule(seconds=st.sampled_from([1, 10, 29, 30, 31, 60, 3600, IDLE]))
    def wait(self, seconds: int) -> None:
        self._wait(seconds)

    def _wait(self, seconds: int) -> None:
        self.clock.jump(seconds)
        self.now += seconds
        self._run(self.process.timeouts.check_timeouts())
        for session_id, expected in list(self.sessions.items()):
            late = {
                user_id
                for user_id, since in expected.away.items()
                if self.now - since >= (HOST_GRACE if user_id == expected.host else GUEST_GRACE)
            }
            for user_id in late - {expected.host}:
                self._remove(expected, user_id)
            if expected.host in late or self.now - expected.idle_since >= IDLE:
                self._end(session_id)

    @rule()
    def reconcile(self) -> None:
        self._run(self.process.timeouts.reconcile())
        self._expect_all_absent()

    @rule(back=st.lists(st.booleans(), min_size=4, max_size=4))
    def restart(self, back: list[bool]) -> None:
        """Some of the participants reconnect and join at once."""
        self.process = self.process.restarted()
        self.devices.clear()
        self.dropped.clear()  # what the process remembered of them is dropped, too
        self.views.clear()
        self._run(self.process.timeouts.reconcile())
        for expected in self.sessions.values():
            expected.away.clear()
        self._expect_all_absent()
        for which, session_id in enumerate(list(self.sessions)):
            for who, user_id in enumerate(self.users):
                if back[who] and user_id in self.sessions[session_id].participants:
                    self.connect(who)
                    self.join(len(self.devices) - 1, which)

    # -- what holds

    @invariant()
    def the_store_is_as_expected(self) -> None:
        rows = {row.id: row for row in self.process.store.rows.values() if row.is_active}
        assert rows.keys() == self.sessions.keys()
        for session_id, expected in self.sessions.items():
            row = rows[session_id]
            assert (row.participants, row.current_step) == (
                tuple(expected.participants),
                expected.step,
            )

    @invariant()
    def every_device_has_the_current_state(self) -> None:
        for device in self.devices:
            for event, data in device.take():
                session_id = data["sessionId"]
                self.views[device.id, session_id].apply(event, data)
                if event == "cooking_session_ended":
                    assert session_id in self.ended
                    del self.views[device.id, session_id]
            assert device.rooms == {room for owner, room in self.views if owner == device.id}
            for session_id in device.rooms:
                view, row = self.views[device.id, session_id], self.process.store.rows[session_id]
                assert view == View(row.seq, len(row.participants), row.current_step)

    @invariant()
    def connected_users_are_participants(self) -> None:
        for session_id, expected in self.sessions.items():
            assert self._present(session_id) <= set(expected.participants)

    # -- steps of the above

    def _run(self, operation: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await operation

        return trio.run(run, clock=self.clock)

    def _attempt(self, operation: Awaitable[Any]) -> Any:
        """None when it is refused."""
        try:
            return self._run(operation)
        except AppError:
            return None

    def _succeeds(self, operation: Awaitable[Any]) -> bool:
        try:
            self._run(operation)
        except AppError:
            return False
        return True

    def _device(self, pick: int) -> Device:
        return self.devices[pick % len(self.devices)]

    def _session(self, which: int) -> str:
        return list(self.sessions)[which % len(self.sessions)]

    def _present(self, session_id: str) -> set[UUID]:
        return {peer.user_id for peer in self.process.hub.members(session_id)}

    def _remove_device(self, pick: int) -> Device:
        device = self._device(pick)
        self.devices.remove(device)
        self.views = {key: view for key, view in self.views.items() if key[0] != device.id}
        return device

    def _remove(self, expected: Expected, user_id: UUID) -> None:
        expected.participants.remove(user_id)
        expected.away.pop(user_id, None)
        expected.idle_since = self.now

    def _end(self, session_id: str) -> None:
        del self.sessions[session_id]
        self.ended.append(session_id)

    def _mark_absent(self, session_id: str, user_id: UUID) -> None:
        expected = self.sessions.get(session_id)
        present = self._present(session_id)
        if expected and user_id in expected.participants and user_id not in present:
            expected.away.setdefault(user_id, self.now)

    def _expect_all_absent(self) -> None:
        for session_id, expected in self.sessions.items():
            for user_id in list(expected.participants):
                self._mark_absent(session_id, user_id)


TestCookingModel = CookingMachine.TestCase
TestCookingModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
