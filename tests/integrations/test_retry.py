"""The retry policy, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import define, field

from cookcam.errors import InvalidCredentials, ServiceUnavailable
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout


@define
class Flaky:
    """Fails with each error in turn, then answers; remembers when it was called."""

    errors: list[Exception]
    takes: float = 0.0
    calls: list[float] = field(factory=list)

    async def __call__(self) -> str:
        self.calls.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def maximum(pause: float) -> float:
    return pause


async def test_transient_failure_is_retried_until_success(autojump_clock):
    operation = Flaky([ServiceUnavailable(), ServiceUnavailable()])
    assert await RetryPolicy(deadline=10, attempts=3).call(operation) == "answer"
    assert len(operation.calls) == 3


async def test_error_of_the_last_attempt_is_raised(autojump_clock):
    operation = Flaky([ServiceUnavailable(str(n)) for n in range(9)])
    with pytest.raises(ServiceUnavailable, match="2"):
        await RetryPolicy(deadline=10, attempts=3).call(operation)
    assert len(operation.calls) == 3


async def test_one_attempt_is_the_default(autojump_clock):
    operation = Flaky([ServiceUnavailable()])
    with pytest.raises(ServiceUnavailable):
        await RetryPolicy(deadline=10).call(operation)
    assert len(operation.calls) == 1


async def test_other_errors_are_not_retried(autojump_clock):
    operation = Flaky([InvalidCredentials()])
    with pytest.raises(InvalidCredentials):
        await RetryPolicy(deadline=10, attempts=5).call(operation)
    assert len(operation.calls) == 1


async def test_delays_double_up_to_the_maximum(autojump_clock):
    operation = Flaky([ServiceUnavailable()] * 5)
    policy = RetryPolicy(deadline=60, attempts=6, initial_delay=0.5, max_delay=3.0)
    await policy.call(operation, jitter=maximum)
    gaps = [b - a for a, b in zip(operation.calls, operation.calls[1:], strict=False)]
    assert gaps == pytest.approx([0.5, 1.0, 2.0, 3.0, 3.0])


async def test_delays_have_full_jitter(autojump_clock):
    gaps: list[float] = []
    for _ in range(50):
        operation = Flaky([ServiceUnavailable()])
        await RetryPolicy(deadline=60, attempts=2, initial_delay=1.0).call(operation)
        gaps.append(operation.calls[1] - operation.calls[0])
    assert all(0 <= gap <= 1.0 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.3


@pytest.mark.parametrize(
    "operation", [Flaky([], takes=100.0), Flaky([ServiceUnavailable()] * 50, takes=1.0)]
)
async def test_deadline_covers_attempts_and_delays(
    autojump_clock, operation: Callable[[], Awaitable[str]]
):
    started = trio.current_time()
    with pytest.raises(ServiceTimeout):
        await RetryPolicy(deadline=5, attempts=50).call(operation)
    assert trio.current_time() - started == pytest.approx(5)


async def test_cancellation_of_the_caller_is_not_a_timeout(autojump_clock):
    with trio.move_on_after(1) as scope:
        await RetryPolicy(deadline=5).call(Flaky([], takes=100.0))
    assert scope.cancelled_caught
