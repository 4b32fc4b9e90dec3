"""The circuit breaker on the virtual clock, alone and in the retry policies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from cookcam.errors import RateLimited, ServiceUnavailable
from cookcam.integrations.circuit_breaker import (
    FAILURES_TO_OPEN,
    MAX_DELAY,
    CircuitBreaker,
    CircuitOpen,
)
from cookcam.integrations.pause import Backoff
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout

DELAY = 2.0


def circuit(seen: list[str] | None = None, *responses: Any) -> CircuitBreaker:
    def observe(outcome: str, _seconds: float) -> None:
        if seen is not None:
            seen.append(outcome)

    backoff = Backoff(DELAY, MAX_DELAY, jitter=lambda pause: pause)
    return CircuitBreaker("stub", responses, observe, backoff)


def failing(error: Exception) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return fail


DOWN = failing(ServiceUnavailable())
UP = trio.lowlevel.checkpoint


async def open_circuit(breaker: CircuitBreaker) -> None:
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(ServiceUnavailable):
            await breaker.call(DOWN)
    assert breaker.state == "open"


async def test_an_open_circuit_rejects_calls_without_an_attempt(autojump_clock: Any) -> None:
    seen: list[str] = []
    breaker = circuit(seen)
    await open_circuit(breaker)
    began = trio.current_time()
    with pytest.raises(CircuitOpen) as caught:
        await breaker.call(trio.sleep_forever)
    assert trio.current_time() == began
    assert dict(caught.value.headers) == {"Retry-After": "2"}
    assert seen == ["unavailable"] * FAILURES_TO_OPEN + ["not_attempted"]


async def test_one_trial_closes_the_circuit_while_other_calls_are_rejected(
    autojump_clock: Any,
) -> None:
    breaker = circuit()
    await open_circuit(breaker)
    await trio.sleep(DELAY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(breaker.call, partial(trio.sleep, 1))
        await trio.testing.wait_all_tasks_blocked()
        assert breaker.state == "trying"
        with pytest.raises(CircuitOpen):
            await breaker.call(UP)
    assert breaker.state == "closed"
    await breaker.call(UP)


async def test_failed_trials_double_the_delay_up_to_a_limit(autojump_clock: Any) -> None:
    breaker = circuit()
    await open_circuit(breaker)
    delays: list[float] = []
    for _ in range(6):
        began = trio.current_time()
        while True:
            try:
                breaker.check()
                break
            except CircuitOpen:
                await trio.sleep(0.25)
        delays.append(trio.current_time() - began)
        with pytest.raises(ServiceUnavailable):
            await breaker.call(DOWN)
    assert delays == [2, 4, 8, 16, MAX_DELAY, MAX_DELAY]


async def test_cancelled_trial_call_frees_the_circuit_breaker_for_the_next(
    autojump_clock: Any,
) -> None:
    breaker = circuit()
    await open_circuit(breaker)
    await trio.sleep(DELAY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(breaker.call, trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert breaker.state == "open"
    await breaker.call(UP)
    assert breaker.state == "closed"


async def test_timeouts_of_the_caller_open_the_circuit_and_cancellations_do_not(
    autojump_clock: Any,
) -> None:
    breaker = circuit()
    for _ in range(FAILURES_TO_OPEN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaker.call, trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert breaker.state == "closed"
    for _ in range(FAILURES_TO_OPEN):
        with trio.move_on_after(3):
            await breaker.call(trio.sleep_forever)
    assert breaker.state == "open"


@pytest.mark.parametrize("response", [RateLimited(), ProviderMisconfigured(), ValueError()])
async def test_a_service_that_responds_is_not_down(response: Exception) -> None:
    seen: list[str] = []
    breaker = circuit(seen, ProviderMisconfigured)
    for _ in range(2 * FAILURES_TO_OPEN):
        with pytest.raises(type(response)):
            await breaker.call(failing(response))
    assert (breaker.state, set(seen)) == ("closed", {"rejected"})


async def test_a_success_between_failures_keeps_the_circuit_closed() -> None:
    breaker = circuit()
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            with pytest.raises(ServiceUnavailable):
                await breaker.call(DOWN)
        await breaker.call(UP)
    assert breaker.state == "closed"


async def test_a_dead_service_costs_callers_of_a_retry_policy_its_timeout_only_at_first(
    autojump_clock: Any,
) -> None:
    policy, breaker = RetryPolicy(deadline=8.0, attempts=3), circuit()
    spent: list[float] = []
    for _ in range(FAILURES_TO_OPEN + 1):
        began = trio.current_time()
        with pytest.raises(ServiceUnavailable) as caught:
            await policy.call(trio.sleep_forever, breaker)
        spent.append(trio.current_time() - began)
        assert isinstance(caught.value, CircuitOpen if spent[-1] == 0 else ServiceTimeout)
    assert spent == [8] * FAILURES_TO_OPEN + [0]


async def test_an_open_circuit_of_a_store_is_a_provider_that_is_unavailable(
    autojump_clock: Any,
) -> None:
    breaker = circuit()
    policy = ProviderCallPolicy(breaker=breaker)
    await open_circuit(breaker)
    began = trio.current_time()
    with pytest.raises(ProviderUnavailable) as caught:
        await policy.call(UP)
    assert (trio.current_time() - began, caught.value.advice) == (0, 2)
    await trio.sleep(DELAY)
    await policy.call(UP)
    assert breaker.state == "closed"
