"""Sends queued notifications to all devices of their users, and stores the results.

Delivery is at least once: after a crash between sending and storing, a notification is sent again.
Its id is sent as collapse id, so a device shows it once. A notification is `sent` when one device
has accepted it. While a provider is unavailable and no device has accepted it, it is retried until
it expires or `MAX_ATTEMPTS` is reached. Logs contain neither tokens nor texts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import AppError
from cookcam.features.messaging.notifications.messages import SOUNDS
from cookcam.features.messaging.notifications.queue_store import (
    ClaimedNotification,
    Device,
    QueueStore,
    SendResult,
)
from cookcam.integrations.provider_calls import ProviderUnavailable
from cookcam.integrations.push import PushMessage, PushProvider, PushResult, PushService
from cookcam.lifecycle.background import run_periodically

POLL_INTERVAL: Final = 10.0
"""Seconds, at most."""
BATCH_SIZE: Final = 20
"""Notifications claimed together and sent concurrently."""
MAX_DEVICES: Final = 10
MAX_CONCURRENT_REQUESTS: Final = 32
"""Concurrent requests to providers."""
SEND_TIMEOUT: Final = 60.0
"""Seconds for one notification; well below the five minutes of a claim."""
MAX_ATTEMPTS: Final = 8
MIN_RETRY_DELAY, MAX_RETRY_DELAY = 30.0, 3600.0
SETTLE_TIMEOUT: Final = 2.0

log = structlog.get_logger("cookcam.notifications")


@frozen
class ProviderFailure:
    """A failed send without a verdict on the device. `advice`: the provider's Retry-After in
    seconds, 0 without one."""

    reason: str
    advice: int = 0


@define
class _Attempt:
    """The state of one attempt to send a notification."""

    devices: list[Device] = field(factory=list[Device])
    outcomes: list[tuple[Device, PushResult]] = field(factory=list[tuple[Device, PushResult]])
    failures: list[ProviderFailure] = field(factory=list[ProviderFailure])

    @property
    def sent(self) -> bool:
        return any(outcome.verdict == "sent" for _, outcome in self.outcomes)

    @property
    def rejected(self) -> list[Device]:
        return [device for device, outcome in self.outcomes if outcome.verdict == "gone"]


def _no_report(kind: str, status: str) -> None:
    pass


@frozen
class Sender:
    """`now` returns UTC. `report` is called with the type and new status of each notification."""

    queue: QueueStore
    services: Mapping[PushProvider, PushService]
    now: Callable[[], datetime]
    report: Callable[[str, str], None] = _no_report
    _requests: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(MAX_CONCURRENT_REQUESTS), init=False
    )

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable during a database outage."""
        await run_periodically(self.sweep, POLL_INTERVAL)

    async def sweep(self) -> int:
        """Sends all notifications that are due; returns how many."""
        done = 0
        while batch := await self.queue.claim(BATCH_SIZE):
            async with trio.open_nursery() as nursery:
                for claimed in batch:
                    nursery.start_soon(self._deliver, claimed)
            done += len(batch)
        return done

    async def _deliver(self, claimed: ClaimedNotification) -> None:
        attempt, settled = _Attempt(), False
        try:
            await self._settle(claimed, await self._outcome(claimed, attempt), attempt)
            settled = True
        except AppError as error:
            # The claim expires, and the notification is sent again.
            log.warning("notification not settled", id=str(claimed.id), code=error.code)
            settled = True
        finally:
            if not settled:
                await self._release(claimed, attempt)

    async def _outcome(self, claimed: ClaimedNotification, attempt: _Attempt) -> SendResult:
        if claimed.expires_at <= self.now():
            return SendResult("skipped", "expired")
        if claimed.attempts > MAX_ATTEMPTS:  # every attempt crashed
            return SendResult("failed", "abandoned")
        with trio.move_on_after(SEND_TIMEOUT) as scope:
            await self._send(claimed, attempt)
        if scope.cancelled_caught:
            attempt.failures.append(ProviderFailure("timeout"))
        return _result_of(claimed, attempt)

    async def _release(self, claimed: ClaimedNotification, attempt: _Attempt) -> None:
        """Stores what is known on cancellation, so that the claim need not expire first."""
        result = SendResult("sent") if attempt.sent else SendResult("queued", "interrupted", 0.0)
        deadline = trio.current_time() + SETTLE_TIMEOUT
        with trio.CancelScope(shield=True, deadline=deadline), suppress(AppError):
            await self.queue.settle(claimed, result, attempt.rejected)

    async def _send(self, claimed: ClaimedNotification, attempt: _Attempt) -> None:
        attempt.devices = await self.queue.devices(claimed.user_id, MAX_DEVICES)
        message = PushMessage(
            id=str(claimed.id),
            title=claimed.title,
            body=claimed.body,
            data=claimed.data,
            sound=SOUNDS.get(claimed.type, "default"),
            expires_at=claimed.expires_at,
        )
        async with trio.open_nursery() as nursery:
            for device in attempt.devices:
                nursery.start_soon(self._send_to, device, message, attempt)

    async def _send_to(self, device: Device, message: PushMessage, attempt: _Attempt) -> None:
        async with self._requests:
            try:
                outcome = await self.services[device.provider].send(device.token, message)
            except ProviderUnavailable as error:
                attempt.failures.append(ProviderFailure(device.provider, error.advice or 0))
            except Exception as error:
                # The message and traceback may contain the token, so only the type is logged.
                kind = type(error).__name__
                log.error("push failed", id=message.id, provider=device.provider, kind=kind)
                attempt.failures.append(ProviderFailure(kind))
            else:
                attempt.outcomes.append((device, outcome))

    async def _settle(
        self, claimed: ClaimedNotification, result: SendResult, attempt: _Attempt
    ) -> None:
        await self.queue.settle(claimed, result, attempt.rejected)
        self.report(claimed.type, result.status)
        log.info(
            "notification",
            id=str(claimed.id),
            type=claimed.type,
            status=result.status,
            reason=result.reason,
            devices=len(attempt.devices),
            rejected=len(attempt.rejected),
        )


def _result_of(claimed: ClaimedNotification, attempt: _Attempt) -> SendResult:
    if attempt.sent:
        return SendResult("sent")
    if attempt.failures:
        reason = attempt.failures[0].reason
        if claimed.attempts >= MAX_ATTEMPTS:
            return SendResult("failed", reason)
        pause = min(MAX_RETRY_DELAY, MIN_RETRY_DELAY * 2 ** (claimed.attempts - 1))
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        return SendResult(
            "queued", reason, max(pause, *(failure.advice for failure in attempt.failures))
        )
    if not attempt.devices:
        return SendResult("skipped", "no device")
    return SendResult("failed", attempt.outcomes[0][1].reason)
