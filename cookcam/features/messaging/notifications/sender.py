"""Delivers notifications: to the user's sockets, then as pushes to the devices of users who accept
them, outside their quiet hours. Stores the results.

Delivery is at least once: after a crash between sending and storing, a notification is sent again.
Its id is in the event and in the push, so a client shows it once. A notification is `sent` when one
device has accepted it. While a provider is unavailable and no device has accepted it, it is retried
until it expires or `MAX_ATTEMPTS` is reached. Logs contain neither tokens nor texts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
import trio
from attrs import define, evolve, field, frozen
from msgspec import Struct

from cookcam.errors import AppError
from cookcam.features.messaging.notifications.messages import OTHER_STYLE, PUSH_STYLES, Channel
from cookcam.features.messaging.notifications.queue_store import (
    CHANNEL,
    ClaimedNotification,
    Device,
    QueueStore,
    SendResult,
    SentTicket,
)
from cookcam.integrations.provider_calls import ProviderUnavailable
from cookcam.integrations.push import PushMessage, PushProvider, PushResult, PushService
from cookcam.lifecycle.background import Bell
from cookcam.realtime.bus.subscription import ReconnectingSubscription
from cookcam.realtime.notifiers import UserNotifier

POLL_INTERVAL: Final = 10.0
"""Seconds, at most. New notifications wake the sender at once; this is for those that wait."""
BATCH_SIZE: Final = 100
"""Notifications claimed together and sent concurrently; the size of a request to Expo."""
MAX_DEVICES: Final = 10
MAX_CONCURRENT_REQUESTS: Final = 32
"""Concurrent requests to providers."""
SEND_TIMEOUT: Final = 60.0
"""Seconds for a batch; well below the five minutes of a claim."""
MAX_ATTEMPTS: Final = 8
MIN_RETRY_DELAY, MAX_RETRY_DELAY = 30.0, 3600.0
SETTLE_TIMEOUT: Final = 2.0
CHANNELS: Final[Sequence[Channel]] = ("app", "reminder")

log = structlog.get_logger("cookcam.notifications")


class UserNotification(Struct):
    """The payload of the socket event `user_notification`, which a client may receive twice."""

    id: UUID
    type: str
    title: str
    body: str
    data: dict[str, Any]
    timestamp: datetime


class DeliveryObserver(Protocol):
    """Receives what is counted. `attempted` comes before each attempt, `settled` after it."""

    def attempted(self, channel: Channel, attempts: int) -> None: ...

    def settled(self, kind: str, status: str) -> None: ...


@frozen
class ProviderFailure:
    """A failed send without a verdict on the device. `advice`: the provider's Retry-After in
    seconds, 0 without one."""

    reason: str
    advice: int = 0


@define
class _Attempt:
    """The state of one attempt to deliver a notification. `result` is set when nothing is to be
    pushed."""

    claimed: ClaimedNotification
    result: SendResult | None = None
    shown: bool = False
    outcomes: list[tuple[Device, PushResult]] = field(factory=list[tuple[Device, PushResult]])
    failures: list[ProviderFailure] = field(factory=list[ProviderFailure])

    @property
    def sent(self) -> bool:
        return any(outcome.verdict == "sent" for _, outcome in self.outcomes)

    @property
    def dead(self) -> list[Device]:
        return [device for device, outcome in self.outcomes if outcome.verdict == "gone"]

    @property
    def tickets(self) -> list[SentTicket]:
        return [
            SentTicket(outcome.ticket, device.token, self.claimed.id)
            for device, outcome in self.outcomes
            if outcome.ticket
        ]


@frozen
class Sender:
    """`now` returns UTC."""

    queue: QueueStore
    hub: UserNotifier = field(repr=False)
    services: Mapping[PushProvider, PushService]
    now: Callable[[], datetime]
    observer: DeliveryObserver
    _bell: Bell = field(factory=Bell, init=False)
    _requests: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(MAX_CONCURRENT_REQUESTS), init=False
    )

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable during a database outage."""
        while True:
            await self.sweep()
            await self._bell.wait(POLL_INTERVAL * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def listen(self) -> None:
        """Background task: wakes `run` when PostgreSQL notifies of new rows."""

        def received(_: object) -> None:
            self._bell.ring()

        subscription: ReconnectingSubscription[object] = ReconnectingSubscription(
            "notifications", lambda: self.queue.database.listen(CHANNEL)
        )
        await subscription.run(received, self._bell.ring)

    async def sweep(self) -> int:
        """Delivers all notifications that are due; returns how many."""
        done = 0
        while batch := await self.queue.claim(
            CHANNELS, self.now(), limit=BATCH_SIZE, devices=MAX_DEVICES
        ):
            await self._deliver([_Attempt(claimed) for claimed in batch])
            done += len(batch)
        return done

    async def _deliver(self, attempts: Sequence[_Attempt]) -> None:
        for attempt in attempts:
            self.observer.attempted(attempt.claimed.channel, attempt.claimed.attempts)
            attempt.result = self._before_push(attempt)
        settled = False
        try:
            pushed = [attempt for attempt in attempts if attempt.result is None]
            with trio.move_on_after(SEND_TIMEOUT) as scope:
                await self._push(pushed)
            if scope.cancelled_caught:
                for attempt in pushed:
                    attempt.failures.append(ProviderFailure("timeout"))
            settled = True
            await self._settle(attempts, [_result_of(attempt) for attempt in attempts])
        except AppError as error:
            # The claims expire, and the notifications are sent again.
            log.warning("notifications not settled", count=len(attempts), code=error.code)
        finally:
            if not settled:
                # Cancelled: stores what is known, so that the claims need not expire first.
                deadline = trio.current_time() + SETTLE_TIMEOUT
                with trio.CancelScope(shield=True, deadline=deadline), suppress(AppError):
                    await self._settle(attempts, [_interrupted(attempt) for attempt in attempts])

    def _before_push(self, attempt: _Attempt) -> SendResult | None:
        """Shows the notification to the sockets; returns a result if it is not to be pushed."""
        claimed = attempt.claimed
        if claimed.expires_at <= self.now():
            return SendResult("skipped", "expired")
        if claimed.attempts > MAX_ATTEMPTS:  # every attempt crashed
            return SendResult("failed", "abandoned")
        if claimed.channel == "app" and claimed.shown_at is None:
            event = UserNotification(
                claimed.id,
                claimed.type,
                claimed.title,
                claimed.body,
                claimed.data,
                claimed.created_at,
            )
            self.hub.send_to_user(claimed.user_id, "user_notification", event)
            attempt.shown = True
        if not claimed.wanted:
            return SendResult("skipped", "disabled")
        if not claimed.devices:
            return SendResult("skipped", "no device")
        if claimed.quiet_until is not None:
            pause = (claimed.quiet_until - self.now()).total_seconds()
            return SendResult("queued", "quiet hours", pause)
        return None

    async def _push(self, attempts: Sequence[_Attempt]) -> None:
        async with trio.open_nursery() as nursery:
            for provider, service in self.services.items():
                sends = [
                    (attempt, device)
                    for attempt in attempts
                    for device in attempt.claimed.devices
                    if device.provider == provider
                ]
                for first in range(0, len(sends), service.max_batch):
                    batch = sends[first : first + service.max_batch]
                    nursery.start_soon(self._push_batch, provider, service, batch)

    async def _push_batch(
        self,
        provider: PushProvider,
        service: PushService,
        batch: Sequence[tuple[_Attempt, Device]],
    ) -> None:
        messages = [_message(attempt.claimed, device) for attempt, device in batch]
        failure: ProviderFailure
        async with self._requests:
            try:
                results = await service.send(messages)
            except ProviderUnavailable as error:
                failure = ProviderFailure(provider, error.advice or 0)
            except Exception as error:
                # The message and traceback may contain the token, so only the type is logged.
                kind = type(error).__name__
                log.error("push failed", ids=[one.id for one in messages], kind=kind)
                failure = ProviderFailure(kind)
            else:
                for (attempt, device), result in zip(batch, results, strict=True):
                    attempt.outcomes.append((device, result))
                return
        for attempt, _ in batch:
            attempt.failures.append(failure)

    async def _settle(self, attempts: Sequence[_Attempt], results: Sequence[SendResult]) -> None:
        claims = [attempt.claimed for attempt in attempts]
        dead = [device for attempt in attempts for device in attempt.dead]
        tickets = [ticket for attempt in attempts for ticket in attempt.tickets]
        await self.queue.settle(list(zip(claims, results, strict=True)), dead, tickets)
        for attempt, result in zip(attempts, results, strict=True):
            self.observer.settled(attempt.claimed.type, result.status)
            log.info(
                "notification",
                id=str(attempt.claimed.id),
                type=attempt.claimed.type,
                status=result.status,
                reason=result.reason,
                devices=len(attempt.claimed.devices),
                rejected=len(attempt.dead),
            )


def _message(claimed: ClaimedNotification, device: Device) -> PushMessage:
    style = PUSH_STYLES.get(claimed.type, OTHER_STYLE)
    data = {"type": claimed.type, "action": style.action, "notification_id": str(claimed.id)}
    if style.urgent:
        data["urgency"] = "high"
    return PushMessage(
        token=device.token,
        id=str(claimed.id),
        title=claimed.title,
        body=claimed.body,
        data=data,
        sound=style.sound,
        expires_at=claimed.expires_at,
    )


def _result_of(attempt: _Attempt) -> SendResult:
    return evolve(attempt.result or _push_result(attempt), shown=attempt.shown)


def _push_result(attempt: _Attempt) -> SendResult:
    if attempt.sent:
        return SendResult("sent")
    if not attempt.failures:
        return SendResult("failed", attempt.outcomes[0][1].reason)
    reason, attempts = attempt.failures[0].reason, attempt.claimed.attempts
    if attempts >= MAX_ATTEMPTS:
        return SendResult("failed", reason)
    pause = min(MAX_RETRY_DELAY, MIN_RETRY_DELAY * 2 ** (attempts - 1))
    pause *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    advice = max(failure.advice for failure in attempt.failures)
    return SendResult("queued", reason, max(pause, advice))


def _interrupted(attempt: _Attempt) -> SendResult:
    result = SendResult("sent") if attempt.sent else SendResult("queued", "interrupted", 0.0)
    return evolve(attempt.result or result, shown=attempt.shown)
