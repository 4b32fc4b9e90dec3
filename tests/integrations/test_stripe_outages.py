"""The Stripe client while Stripe is unavailable, overloaded or returns malformed responses."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio

from cookcam.errors import ServiceUnavailable
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout
from cookcam.integrations.stripe import Stripe, StripeUnavailable
from cookcam.integrations.stripe.billing import Subscription
from cookcam.integrations.stripe.reading import MalformedObject
from cookcam.sandbox.stripe import FakeStripe, Fault, open_stripe
from tests.integrations.stripe_conversations import checkout, open_client, subscribed

RETRY_AFTER = RetryPolicy(deadline=60.0, attempts=3, initial_delay=0.25)


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with open_stripe() as opened:
        yield opened


@pytest.fixture
async def client(fake: FakeStripe) -> AsyncIterator[Stripe]:
    async with open_client(fake) as opened:
        yield opened


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500),
        Fault("status", status=503, late=True),
        Fault("status", status=429),
        Fault("status", status=409),
        Fault("garbage", late=True),
        Fault("cut"),
        Fault("cut", late=True),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}{'-late' if fault.late else ''}",
)
async def test_failed_request_is_retried_and_executed_once(client, fake, fault):
    fault.times = 2
    fake.behaviour.fault = fault
    session = await checkout(client)
    assert fake.requests == ["POST /v1/checkout/sessions"] * 3
    assert [stored["id"] for stored in fake.objects("checkout.session")] == [session.id]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_lasting_failure_is_503_with_retry_after(client, fake, status):
    fake.behaviour.fault = Fault("status", status=status)
    with pytest.raises(StripeUnavailable) as caught:
        await client.retrieve_subscription("sub_1")
    assert caught.value.status == 503
    assert dict(caught.value.headers) == {"Retry-After": "2"}
    assert caught.value.__cause__ is None
    assert len(fake.requests) == 3


async def test_retry_after_is_honoured(fake, autojump_clock):
    fake.behaviour.fault = Fault("status", times=1, status=429, retry_after=7)
    async with open_client(fake, policy=RETRY_AFTER) as client:
        began = trio.current_time()
        await checkout(client)
        assert 7.0 <= trio.current_time() - began < 8.0


async def test_request_is_not_retried_after_the_deadline(fake, autojump_clock):
    fake.behaviour.fault = Fault("status", times=1, status=429, retry_after=90)
    async with open_client(fake, policy=RETRY_AFTER) as client:
        began = trio.current_time()
        with pytest.raises(StripeUnavailable) as caught:
            await checkout(client)
        assert caught.value.retry_after == 90
        assert trio.current_time() - began < 1.0


async def test_missing_response_ends_with_the_deadline(fake, autojump_clock):
    fake.behaviour.fault = Fault("hang")
    policy = RetryPolicy(deadline=6.0, attempts=3)
    async with open_client(fake, policy=policy) as client:
        began = trio.current_time()
        with pytest.raises(ServiceTimeout):
            await client.retrieve_subscription("sub_1")
        assert trio.current_time() - began == pytest.approx(6.0, abs=0.5)
        began = trio.current_time()
        with pytest.raises(ServiceTimeout):  # the deadline is for all requests of an operation
            await client.set_cancel_at_period_end("sub_1", True, idempotency_key="k")
        assert trio.current_time() - began == pytest.approx(6.0, abs=0.5)


async def test_cancelled_caller_does_not_affect_others(client, fake):
    fake.behaviour.fault = Fault("hang", times=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.retrieve_subscription, "sub_1")
        with trio.fail_after(20):
            while not fake.requests:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert (await checkout(client)).status == "open"


async def test_rejected_connection_is_service_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    unused_url = f"http://127.0.0.1:{port}"
    async with open_stripe() as fake, open_client(fake, api_base=unused_url) as client:
        with pytest.raises(ServiceUnavailable):
            await client.list_subscriptions()


async def test_response_of_another_shape_is_malformed(client, fake):
    subscription = await subscribed(client, fake)
    document = fake.get("subscription", subscription.id)
    for missing in ("items", "status", "customer"):
        with pytest.raises(MalformedObject):
            Subscription.of({k: v for k, v in document.items() if k != missing})
    with pytest.raises(MalformedObject):
        Subscription.of({**document, "items": {"data": []}})
