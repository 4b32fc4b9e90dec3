"""Sends what is queued, to every device of a person, and writes down what became of it.

At least once: a process that dies after a provider took a notification leaves it to be sent again.
Its id goes along, so that a device that gets it twice shows it once. One device that took it makes
it sent; while a provider is away and no device has it, it is tried again until it has expired or
was tried `LAST_ATTEMPT` times. Logs have neither tokens nor texts.
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
from cookcam.features.notifications.messages import SOUNDS
from cookcam.features.notifications.queue_store import Claimed, Device, QueueStore, Settled
from cookcam.providers.push import Outcome, PushMessage, PushProvider, PushService
from cookcam.providers.store_calls import StoreUnavailable

EVERY: Final = 10.0
"""Seconds between two looks at the queue, at most."""
AT_ONCE: Final = 20
"""Notifications that are sent at the same time, and claimed together."""
DEVICES: Final = 10
REQUESTS: Final = 32
"""Requests to providers at the same time."""
PATIENCE: Final = 60.0
"""Seconds for one notification; well below the five minutes of a claim."""
LAST_ATTEMPT: Final = 8
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 3600.0
BOOKKEEPING: Final = 2.0

log = structlog.get_logger("cookcam.notifications")


@frozen
class Unanswered:
    """No word on a device: its provider is away. `advice`: seconds, where it gave some."""

    reason: str
    advice: int = 0


@define
class _Tally:
    """What is known so far of one notification."""

    devices: list[Device] = field(factory=list[Device])
    outcomes: list[tuple[Device, Outcome]] = field(factory=list[tuple[Device, Outcome]])
    unanswered: list[Unanswered] = field(factory=list[Unanswered])

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
    """`now` is UTC; `told` hears of each notification its type and its new status."""

    queue: QueueStore
    services: Mapping[PushProvider, PushService]
    now: Callable[[], datetime]
    told: Callable[[str, str], None] = _no_report
    _requests: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(REQUESTS), init=False
    )

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable while the database is away."""
        while True:
            await trio.sleep(EVERY * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            await self.sweep()

    async def sweep(self) -> int:
        """Sends all that is due now; how many notifications that were."""
        done = 0
        while batch := await self.queue.claim(AT_ONCE):
            async with trio.open_nursery() as nursery:
                for claimed in batch:
                    nursery.start_soon(self._deliver, claimed)
            done += len(batch)
        return done

    async def _deliver(self, claimed: Claimed) -> None:
        tally, over = _Tally(), False
        try:
            await self._settle(claimed, await self._outcome(claimed, tally), tally)
            over = True
        except AppError as error:
            # The claim lapses, and the next one sends it again.
            log.warning("notification not settled", id=str(claimed.id), code=error.code)
            over = True
        finally:
            if not over:
                await self._give_back(claimed, tally)

    async def _outcome(self, claimed: Claimed, tally: _Tally) -> Settled:
        if claimed.expires_at <= self.now():
            return Settled("skipped", "expired")
        if claimed.attempts > LAST_ATTEMPT:  # whoever had the last one died of it
            return Settled("failed", "abandoned")
        with trio.move_on_after(PATIENCE) as scope:
            await self._send(claimed, tally)
        if scope.cancelled_caught:
            tally.unanswered.append(Unanswered("timeout"))
        return _settled(claimed, tally)

    async def _give_back(self, claimed: Claimed, tally: _Tally) -> None:
        """The process ends: the next one need not wait for the claim to lapse."""
        settled = Settled("sent") if tally.sent else Settled("queued", "interrupted", 0.0)
        deadline = trio.current_time() + BOOKKEEPING
        with trio.CancelScope(shield=True, deadline=deadline), suppress(AppError):
            await self.queue.settle(claimed, settled, tally.rejected)

    async def _send(self, claimed: Claimed, tally: _Tally) -> None:
        tally.devices = await self.queue.devices(claimed.user_id, DEVICES)
        message = PushMessage(
            id=str(claimed.id),
            title=claimed.title,
            body=claimed.body,
            data=claimed.data,
            sound=SOUNDS.get(claimed.type, "default"),
            expires_at=claimed.expires_at,
        )
        async with trio.open_nursery() as nursery:
            for device in tally.devices:
                nursery.start_soon(self._send_to, device, message, tally)

    async def _send_to(self, device: Device, message: PushMessage, tally: _Tally) -> None:
        async with self._requests:
            try:
                outcome = await self.services[device.provider].send(device.token, message)
            except StoreUnavailable as error:
                tally.unanswered.append(Unanswered(device.provider, error.advice or 0))
            except Exception as error:
                # Its text and its frames may have the token in them.
                kind = type(error).__name__
                log.error("push failed", id=message.id, provider=device.provider, kind=kind)
                tally.unanswered.append(Unanswered(kind))
            else:
                tally.outcomes.append((device, outcome))

    async def _settle(self, claimed: Claimed, settled: Settled, tally: _Tally) -> None:
        await self.queue.settle(claimed, settled, tally.rejected)
        self.told(claimed.type, settled.status)
        log.info(
            "notification",
            id=str(claimed.id),
            type=claimed.type,
            status=settled.status,
            reason=settled.reason,
            devices=len(tally.devices),
            rejected=len(tally.rejected),
        )


def _settled(claimed: Claimed, tally: _Tally) -> Settled:
    if tally.sent:
        return Settled("sent")
    if tally.unanswered:
        reason = tally.unanswered[0].reason
        if claimed.attempts >= LAST_ATTEMPT:
            return Settled("failed", reason)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (claimed.attempts - 1))
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        return Settled("queued", reason, max(pause, *(one.advice for one in tally.unanswered)))
    if not tally.devices:
        return Settled("skipped", "no device")
    return Settled("failed", tally.outcomes[0][1].reason)
