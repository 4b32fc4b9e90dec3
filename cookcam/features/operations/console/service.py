"""What operators do. Each action is logged and recorded before it has an effect.

The actions are those of the commands and of the API: `cookcam webhooks retry`, `notifications
retry`, `maintenance` and `read-only`, the decisions of moderators, and the stop that a signal
requests.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from uuid import UUID

import structlog
from attrs import define, field

from cookcam.errors import Conflict, NotFound, ServiceUnavailable
from cookcam.features.billing.webhooks.store import WebhookEventStore
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.features.operations.console.store import ConsoleStore
from cookcam.features.operations.switches.store import SwitchName, SwitchStore
from cookcam.features.social.moderation.models import DecidedReports, Decision
from cookcam.features.social.moderation.service import Moderation
from cookcam.identity import Identity
from cookcam.lifecycle.background import Bell
from cookcam.lifecycle.mode import DEFAULT_RETRY_AFTER
from cookcam.lifecycle.process_state import ProcessState

log = structlog.get_logger(__name__)

STOP_REASON = "operator"


@define(eq=False)
class Operations:
    """`webhooks` are the stores of all tables of events."""

    process: ProcessState
    webhooks: Sequence[WebhookEventStore]
    notifications: QueueStore
    moderation: Moderation
    switches: SwitchStore
    store: ConsoleStore
    changed: Bell = field(factory=Bell)
    """Rung after each action, so that the console shows its effect at once."""

    @property
    def process_id(self) -> str:
        """Identifies this process among the instances and their workers."""
        return f"{self.process.instance} pid {os.getpid()}"

    async def signed_in(self, operator: Identity) -> None:
        await self._record(operator, "sign in")

    async def retry_webhooks(self, operator: Identity, event_id: str | None) -> int:
        """Make one failed event due, or all dead letters; returns their number.

        An event that was processed is never repeated. Raises NotFound for an unknown event, and for
        one that has not failed.
        """
        await self._record(operator, "retry webhook", event_id or "all dead letters")
        count = sum([await store.requeue(event_id) for store in self.webhooks])
        if event_id is not None and count == 0:
            raise NotFound("The event is not among the failed ones")
        self.changed.ring()
        return count

    async def retry_notifications(self, operator: Identity, notification_id: UUID | None) -> int:
        """Make one failed push or mail due, or all; returns their number.

        Raises NotFound for an unknown one, and for one that has not failed.
        """
        target = str(notification_id or "all failed notifications")
        await self._record(operator, "retry notification", target)
        count = await self.notifications.requeue(notification_id)
        if notification_id is not None and count == 0:
            raise NotFound("The notification is not among the failed ones")
        self.changed.ring()
        return count

    async def set_switch(self, operator: Identity, name: SwitchName, *, on: bool) -> None:
        """Switch maintenance or read-only mode for all instances; they follow within seconds."""
        await self._record(operator, f"switch {'on' if on else 'off'}", name)
        if on:
            await self.switches.turn_on(name, DEFAULT_RETRY_AFTER)
        else:
            await self.switches.turn_off(name)
        self.changed.ring()

    async def decide(
        self, operator: Identity, report_id: UUID, decision: Decision, note: str | None
    ) -> DecidedReports:
        """Decide about a report (`Moderation.decide`), which has an audit trail of its own."""
        decided = await self.moderation.decide(operator, report_id, decision, note)
        self.changed.ring()
        return decided

    async def drain(self, operator: Identity, process_id: str) -> None:
        """Stop this process as SIGTERM would.

        Raises Conflict where `process_id` is another one: behind a proxy, a request may reach
        another instance than the page came from.
        """
        if process_id != self.process_id:
            raise Conflict(
                f"This request reached {self.process_id}, not {process_id}."
                " Open the console on the instance's own port."
            )
        await self._record(operator, "drain")
        log.warning("drain requested by an operator", userId=str(operator.user_id))
        self.process.lifecycle.stop.set(STOP_REASON)
        self.changed.ring()

    async def _record(self, operator: Identity, action: str, target: str | None = None) -> None:
        log.info("operator action", action=action, target=target, userId=str(operator.user_id))
        try:
            await self.store.add(operator.user_id, action, target, self.process_id)
        except ServiceUnavailable as error:
            # Without a database, a process can still be drained.
            log.warning("operator action not recorded", action=action, code=error.code)
