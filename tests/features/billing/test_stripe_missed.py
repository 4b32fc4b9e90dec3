"""Events that nobody took while Stripe sent them are found at Stripe, and done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio
from attrs import evolve

from cookcam.errors import ServiceUnavailable
from cookcam.features.billing.stripe.missed_events import INITIAL_DELAY, INTERVAL, MissedEvents
from cookcam.sandbox.stripe.behaviour import Fault
from cookcam.sandbox.stripe.outbox import Endpoint
from tests.features.conftest import ApiUser
from tests.support.ports import free_ports
from tests.support.stripe_billing import CONNECT_SECRET, SECRET, BillingApp, open_billing_app


@pytest.fixture
async def billing(database_url: str) -> AsyncIterator[BillingApp]:
    """Stripe sends to a port where nobody listens, once."""
    async with open_billing_app(database_url) as opened:
        [port] = free_ports(1)
        url = f"http://127.0.0.1:{port}/"
        opened.stripe.behaviour.mail.retries = []
        opened.stripe.outbox.endpoints += [
            Endpoint(url, [SECRET]),
            Endpoint(url, [CONNECT_SECRET], connect=True),
        ]
        yield opened


@pytest.fixture
async def ann(billing: BillingApp) -> ApiUser:
    return await billing.person("Ann")


def later(billing: BillingApp) -> MissedEvents:
    """As it looks an hour later."""
    assert billing.container.missed_events is not None
    return evolve(
        billing.container.missed_events, now=lambda: datetime.now(UTC) + timedelta(hours=1)
    )


async def test_what_was_bought_while_the_server_was_away_counts(billing: BillingApp, ann: ApiUser):
    session = await billing.begin(ann)
    subscription_id = billing.stripe.pay(session["id"])["subscription"]
    await billing.stripe.outbox.quiet()
    assert (await billing.status(ann))["tier_slug"] == "free"

    assert await later(billing).receive_missed() == len(billing.stripe.events)
    assert (await billing.status(ann))["tier_slug"] == "regular"
    history = await billing.history(subscription_id)
    for received in billing.stripe.events:
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert (stored["status"], stored["payload"]) == ("processed", True)

    assert await later(billing).receive_missed() == 0
    assert await billing.history(subscription_id) == history
    [received] = billing.new("customer.subscription.created")
    assert (await billing.deliver(received)).json()["reason"] == "duplicate"


async def test_what_is_young_is_still_on_its_way(billing: BillingApp, ann: ApiUser):
    await billing.begin(ann)
    await billing.stripe.outbox.quiet()
    assert billing.container.missed_events is not None
    assert await billing.container.missed_events.receive_missed() == 0


async def test_what_has_failed_here_is_the_inbox_s_own(billing: BillingApp, ann: ApiUser):
    session = await billing.begin(ann)
    billing.stripe.pay(session["id"])
    [received] = billing.new("customer.subscription.created")
    await billing.sql(
        """insert into stripe_webhook_events (event_id, event_type, status, attempts)
        values (%(id)s, 'x', 'failed', 10)""",
        id=received["id"],
    )
    assert await later(billing).receive_missed() == len(billing.stripe.events) - 1
    stored = await billing.stored(received["id"])
    assert stored is not None
    assert stored["status"] == "failed"


async def test_page_after_page(billing: BillingApp, ann: ApiUser):
    session = await billing.begin(ann)
    billing.stripe.pay(session["id"])
    for _ in range(20):
        billing.stripe.advance(31 * 86_400)
    await billing.stripe.outbox.quiet()
    assert len(billing.stripe.events) > 100
    years = timedelta(days=700)
    at = evolve(later(billing), now=lambda: datetime.now(UTC) + years)
    assert await at.receive_missed() == len(billing.stripe.events)
    assert await at.receive_missed() == 0


async def test_while_stripe_is_away_nothing_is_lost(billing: BillingApp, ann: ApiUser):
    session = await billing.begin(ann)
    billing.stripe.pay(session["id"])
    await billing.stripe.outbox.quiet()
    billing.stripe.behaviour.fault = Fault("status", status=503, path="/v1/events")
    with pytest.raises(ServiceUnavailable):
        await later(billing).receive_missed()
    billing.stripe.behaviour.fault = None
    assert await later(billing).receive_missed() == len(billing.stripe.events)
    assert (await billing.status(ann))["tier_slug"] == "regular"


async def test_it_looks_soon_after_the_start_and_then_hourly(autojump_clock: Any):
    looks: list[float] = []

    class Requested:
        async def list_undelivered_events(self, *, starting_after: str | None) -> Any:
            looks.append(trio.current_time())
            raise ServiceUnavailable

    requested: Any = Requested()
    nothing: Any = None
    began = trio.current_time()
    with trio.move_on_after(INITIAL_DELAY * 1.2 + INTERVAL * 3.4):
        await MissedEvents(nothing, requested, lambda: datetime.now(UTC)).run()
    assert len(looks) == 4
    assert INITIAL_DELAY * 0.9 <= looks[0] - began <= INITIAL_DELAY * 1.1
    pauses = [after - before for before, after in pairwise(looks)]
    assert all(INTERVAL * 0.9 <= pause <= INTERVAL * 1.1 for pause in pauses)
