"""Events of Stripe that did not come: asked for once an hour, and then done like any other.

Stripe repeats an event for three days and then stops. Reconciliation corrects who is entitled; a
tip, a payment that a creator has a share in and a dispute are told by their events alone. Stripe
remembers for 30 days which events nobody has acknowledged, so that the list is short. It is that of
our own account: events of creators' accounts are not on it.
Source: Stripe's page on undelivered webhook events.
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
from cookcam.features.billing.webhooks.inbox import Inbox
from cookcam.features.billing.webhooks.models import storable
from cookcam.integrations.stripe import Stripe

SOON: Final = 120.0
"""Seconds after the start: it may have been away for days."""
INTERVAL: Final = 3600.0
UNDER_WAY: Final = timedelta(minutes=10)
"""What is younger is on its way, or comes again by itself."""

log = structlog.get_logger(__name__)


@frozen
class MissedEvents:
    inbox: Inbox
    stripe: Stripe
    now: Callable[[], datetime]

    async def run(self) -> None:
        """Background task. Several instances may find the same event: the inbox takes it once."""
        pause = SOON
        while True:
            await trio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            pause = INTERVAL
            try:
                await self.look()
            except AppError as error:
                log.warning("missed events could not be asked for", code=error.code)

    async def look(self) -> int:
        """How many events were missed; each is in the inbox afterwards, done or to be tried again.

        Raises ServiceUnavailable or another AppError when Stripe or the database does not answer:
        what was found until then is in the inbox.
        """
        found, after = 0, None
        while True:
            page = await self.stripe.list_undelivered_events(starting_after=after)
            due = self.now() - UNDER_WAY
            told = [event for event in page.items if event.created <= due]
            known = await self.inbox.store.known([event.id for event in told])
            for event in reversed(told):  # the list begins with the newest
                if event.id not in known:
                    await self.inbox.receive(event, storable(orjson.dumps(event.payload)))
                    found += 1
            after = page.next_after
            if after is None:
                break
        if found:
            log.warning("missed events found", count=found)
        return found
