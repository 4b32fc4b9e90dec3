"""Timeouts and retries of provider calls, and parsing of arbitrary responses."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cookcam.integrations.app_store.receipts import subscription_of as receipt_of
from cookcam.integrations.google_play.models import subscription_of
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderMisconfigured,
    ProviderUnavailable,
    StoreRejected,
    unavailable,
)

MAX_JITTER = ProviderCallPolicy(jitter=lambda _, maximum: maximum)


def failing(times: list[float], failure: Exception) -> Any:
    async def once() -> None:
        times.append(trio.current_time())
        raise failure

    return once


async def test_three_attempts_with_growing_jittered_delays(autojump_clock: Any):
    times: list[float] = []
    with pytest.raises(ProviderUnavailable):
        await MAX_JITTER.call(failing(times, ProviderUnavailable()))
    assert [at - times[0] for at in times] == [0, 1.25, 1.25 + 2.5]


async def test_each_call_and_all_calls_together_time_out(autojump_clock: Any):
    started: list[float] = []

    async def never_respond() -> None:
        started.append(trio.current_time())
        await trio.sleep_forever()

    began = trio.current_time()
    with pytest.raises(ProviderUnavailable):
        await MAX_JITTER.within(lambda: MAX_JITTER.call(never_respond), "a store")
    assert trio.current_time() - began == 25
    assert [at - began for at in started] == [0, 11.25, 23.75]


async def test_retry_after_is_honoured(autojump_clock: Any):
    times: list[float] = []
    with pytest.raises(ProviderUnavailable) as caught:
        await MAX_JITTER.call(failing(times, unavailable({"retry-after": "7"})))
    assert [at - times[0] for at in times] == [0, 7, 14]
    assert dict(caught.value.headers) == {"Retry-After": "7"}
    times.clear()
    with pytest.raises(ProviderUnavailable) as caught:
        await MAX_JITTER.call(failing(times, unavailable({"retry-after": "600"})))
    assert (len(times), dict(caught.value.headers)) == (1, {"Retry-After": "600"})


@pytest.mark.parametrize("final", [StoreRejected(), ProviderMisconfigured()])
async def test_final_rejection_is_not_retried(autojump_clock: Any, final: Exception):
    times: list[float] = []
    with pytest.raises(type(final)):
        await MAX_JITTER.call(failing(times, final))
    assert len(times) == 1


@pytest.mark.parametrize(
    "advice", ["", "soon", "-5", "9999999999", "Wed, 21 Oct 2015 07:28:00 GMT"]
)
def test_malformed_retry_after_is_ignored(advice: str):
    assert unavailable({"retry-after": advice}).advice is None


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
apple_keys = st.sampled_from(
    ["receipt", "latest_receipt_info", "pending_renewal_info", "environment", "status"]
)
entry = st.fixed_dictionaries(
    {"product_id": json, "original_transaction_id": json},
    optional={"expires_date_ms": json, "purchase_date_ms": json, "transaction_id": json},
)


@given(
    st.dictionaries(apple_keys, json)
    | st.fixed_dictionaries(
        {
            "receipt": st.fixed_dictionaries({"bundle_id": st.just("b"), "request_date_ms": json}),
            "latest_receipt_info": st.lists(entry, max_size=3),
            "environment": json,
        }
    )
)
def test_any_response_of_apple_is_a_receipt_or_a_declared_error(body: dict[str, Any]):
    with suppress(StoreRejected, ProviderUnavailable):
        receipt_of(body, bundle_id="b", product_id=None, known=lambda product: True)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "subscriptionState",
                "lineItems",
                "startTime",
                "canceledStateContext",
                "externalAccountIdentifiers",
            ]
        ),
        json | st.just("SUBSCRIPTION_STATE_ACTIVE"),
    )
)
def test_any_response_of_google_is_a_subscription_or_a_declared_error(body: dict[str, Any]):
    with suppress(KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        subscription_of("t", body, datetime.now(UTC), lambda product: True)


def test_times_of_google_have_up_to_nine_digits():
    def of(text: str) -> datetime | None:
        body = {
            "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
            "lineItems": [{"productId": "p", "expiryTime": text}],
        }
        return subscription_of("t", body, datetime.now(UTC), lambda product: True).expires_at

    second = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert of("2026-01-02T03:04:05Z") == second
    assert of("2026-01-02T03:04:05.5Z") == second.replace(microsecond=500_000)
    assert of("2026-01-02T03:04:05.123456789Z") == second.replace(microsecond=123_456)
