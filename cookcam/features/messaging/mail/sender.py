"""Sends the queued mails, one at a time, and stores the results.

Delivery is at least once: after a crash between sending and storing, a mail is sent again with the
same Message-ID. While the server is unavailable a mail is retried until it expires. Preferences and
quiet hours do not concern mails: all of them are about the account.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from attrs import frozen

from cookcam.features.messaging.mail.templates import render
from cookcam.features.messaging.notifications.queue_store import (
    ClaimedNotification,
    QueueStore,
    SendResult,
)
from cookcam.features.messaging.notifications.sender import (
    MAX_RETRY_DELAY,
    MIN_RETRY_DELAY,
    DeliveryObserver,
)
from cookcam.integrations.mail import MailRejected, MailService
from cookcam.integrations.provider_calls import ProviderUnavailable
from cookcam.lifecycle.background import run_periodically

POLL_INTERVAL: Final = 10.0
"""Seconds, at most."""

log = structlog.get_logger("cookcam.mail")


@frozen
class MailSender:
    """`now` returns UTC. `app_url` is the address of the website, without a final slash."""

    queue: QueueStore
    service: MailService
    now: Callable[[], datetime]
    observer: DeliveryObserver
    app_url: str

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable during a database outage."""
        await run_periodically(self.sweep, POLL_INTERVAL)

    async def sweep(self) -> int:
        """Sends all mails that are due; returns how many."""
        done = 0
        while batch := await self.queue.claim(["mail"], self.now(), limit=1, devices=0):
            (claimed,) = batch
            self.observer.attempted("mail", claimed.attempts)
            result = await self._send(claimed)
            await self.queue.settle([(claimed, result)])
            self.observer.settled(claimed.type, result.status)
            log.info(
                "mail",
                id=str(claimed.id),
                type=claimed.type,
                status=result.status,
                reason=result.reason,
            )
            done += 1
        return done

    async def _send(self, claimed: ClaimedNotification) -> SendResult:
        if claimed.expires_at <= self.now():
            return SendResult("skipped", "expired")
        if not claimed.email:
            return SendResult("skipped", "no address")
        mail = render(
            claimed.type, str(claimed.id), claimed.email, app_url=self.app_url, **claimed.data
        )
        try:
            await self.service.send(mail)
        except MailRejected as rejection:
            return SendResult("failed", rejection.reason)
        except ProviderUnavailable:
            delay = min(MAX_RETRY_DELAY, MIN_RETRY_DELAY * 2 ** min(claimed.attempts - 1, 10))
            return SendResult("queued", "unavailable", delay * random.uniform(0.5, 1.0))  # noqa: S311
        return SendResult("sent")
