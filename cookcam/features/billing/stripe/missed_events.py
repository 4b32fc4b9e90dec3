"""Events that Stripe could not deliver: listed once an hour, and received like any other.

Stripe repeats an event for three days and then stops. Reconciliation corrects entitlements; tips,
commissions and disputes depend on their events alone. For 30 days, Stripe lists the events that
were not acknowledged, so the list is short. It has the events of the platform's account, not those
of creators' accounts. Source: Stripe's page on undelivered webhook events.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import orjson
import structlog
import trio
from attrs import frozen

from cookcam.errors import AppError
from cookcam.features.billing.stripe.events import StripeInbox
from cookcam.integrations.stripe import Stripe

INITIAL_DELAY: Final = 120.0
"""Seconds after the start: the server may have been down for days."""
INTERVAL: Final = 3600.0
MIN_AGE: Final = timedelta(minutes=10)
"""Stripe is still delivering events that are younger."""

log = structlog.get_logger(__name__)


@frozen
class MissedEvents:
    inbox: StripeInbox
    stripe: Stripe
    now: Callable[[], datetime]

    async def run(self) -> None:
        """Background task. Several instances may find the same event: it is applied once."""
        delay = INITIAL_DELAY
        while True:
            await trio.sleep(delay * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            delay = INTERVAL
            try:
                await self.receive_missed()
            except AppError as error:
                log.warning("missed events could not be listed", code=error.code)

    async def receive_missed(self) -> int:
        """Receives all missed events; returns their number.

        Raises ServiceUnavailable or another AppError when Stripe or the database does not respond:
        the events listed until then are in the inbox.
        """
        count, after = 0, None
        while True:
            page = await self.stripe.list_undelivered_events(starting_after=after)
            newest = self.now() - MIN_AGE
            undelivered = [event for event in page.items if event.created <= newest]
            existing = await self.inbox.store.existing([event.id for event in undelivered])
            for event in reversed(undelivered):  # the list begins with the newest
                if event.id not in existing:
                    await self.inbox.receive(event, orjson.dumps(event.payload))
                    count += 1
            after = page.next_after
            if after is None:
                break
        if count:
            log.warning("missed events found", count=count)
        return count
