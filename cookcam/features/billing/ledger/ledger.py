"""The ledger: all changes of subscriptions, by Stripe, app stores and reconciliation.

Reported states and their effects:

| reported        | the row    | entitles                         | history                       |
|-----------------|------------|----------------------------------|-------------------------------|
| incomplete      | incomplete | no: the first payment is missing | created                       |
| trialing        | trialing   | until the end of the period      | created, reactivated          |
| active          | active     | until the end of the period      | created, renewed, reactivated |
| active, another | active     | the same, to the other tier      | upgraded, downgraded          |
|   tier          |            |                                  |                               |
| active, will    | active     | until the end of the period      | scheduled_cancel; withdrawn:  |
|   not renew     |            |                                  | reactivated                   |
| past_due        | past_due   | until 7 days after the period    | past_due; paid: renewed       |
| cancelled       | cancelled  | no                               | cancelled, or refunded        |
| expired         | expired    | no                               | expired, or refunded          |

Any state may follow any other: the newest of each subscription is stored, by the provider's time.
An older state changes nothing; an equal one only updates the time of verification.

Of a user's subscriptions that are live at their providers one is elected: the one that entitles
now, to the highest tier, paid for rather than granted, for the longest. The others are superseded:
`cancelled` here (history: cancelled), with the provider's status in `superseded_status`. Their
providers still charge: `Applied.superseded` lists them, so that the caller cancels them there.
Should the elected one end first, the best of them takes its place (history: reactivated).

Changes by reconciliation are `reconciled` in the history, with the action above in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from attrs import frozen
from msgspec import Struct

from cookcam.database import Database, Transaction
from cookcam.features.billing.errors import SubscriptionBelongsToAnother, UnknownSubscriber
from cookcam.features.billing.ledger.changes import (
    Action,
    SourceEvent,
    SubscriptionChange,
    action_of,
    elect,
    entitling,
    is_stale,
    public_part,
)
from cookcam.features.billing.ledger.store import LedgerStore, LockedSubscriptions
from cookcam.features.billing.tiers.models import (
    LIVE,
    SLUGS,
    Provider,
    ShownStatus,
    Subscription,
    TierSlug,
    shown_status,
)
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.realtime.notifiers import UserNotifier

Outcome = Literal["applied", "unchanged", "stale", "repeated"]


class SubscriptionUpdated(Struct):
    """Payload of `subscription_updated`, sent to all sockets of the user."""

    tier: TierSlug
    status: ShownStatus


@frozen
class RowChange:
    """A row that changed; `before` is None for a new one."""

    before: Subscription | None
    after: Subscription


@frozen
class Applied:
    """The result of a change.

    `applied`: something changed. `unchanged`: the state was stored already. `stale`: the row is
    newer. `repeated`: this event has changed this subscription before. `subscription` is the row of
    the change, as it is now; `changes` are all rows that changed; `update` is the event for the
    user's sockets.
    """

    user_id: UUID
    outcome: Outcome
    subscription: Subscription
    changes: Sequence[RowChange] = ()
    update: SubscriptionUpdated | None = None

    @property
    def superseded(self) -> Sequence[Subscription]:
        """Superseded by this change: live at their providers, where they must be cancelled."""
        return [
            change.after
            for change in self.changes
            if change.after.superseded_status
            and not (change.before and change.before.superseded_status)
        ]

    @property
    def ended(self) -> Sequence[Subscription]:
        """Live at their providers before this change, but not after it."""
        return [
            change.after
            for change in self.changes
            if change.before
            and change.before.provider_status in LIVE
            and change.after.provider_status not in LIVE
        ]


@frozen
class SubscriptionLedger:
    database: Database
    store: SubscriptionStore
    notifier: UserNotifier
    now: Callable[[], datetime]

    async def apply(self, change: SubscriptionChange, *, source_event: SourceEvent) -> Applied:
        """Applies a change in a separate transaction, and notifies the user's sockets.

        Changes of one user are serialised, whatever their provider. Raises UnknownSubscriber, also
        for a deleted account; SubscriptionBelongsToAnother when the provider's subscription is
        bound to another user; ConstraintViolation for a period that ends before it starts.
        """
        async with self.database.transaction() as tx:
            applied = await self.apply_in(tx, change, source_event=source_event)
        self.announce(applied)
        return applied

    async def apply_in(
        self, tx: Transaction, change: SubscriptionChange, *, source_event: SourceEvent
    ) -> Applied:
        """`apply` within a transaction of the server itself, for instance one that marks the event
        of a webhook as processed. The caller calls `announce` once that is committed.
        """
        user_id, provider = change.user_id, change.provider
        state = await LedgerStore(tx).read_locked(
            user_id, provider, change.provider_subscription_id, source_event
        )
        return await self.apply_to(state, tx, change, source_event=source_event)

    async def lock(
        self,
        tx: Transaction,
        user_id: UUID | None,
        provider: Provider,
        subscription_id: str,
        *,
        source_event: SourceEvent,
    ) -> LockedSubscriptions:
        """Locks and reads the subscriptions for `apply_to`: those of the subscription's owner, or
        else of `user_id`. The lock is held until the end of the transaction.
        """
        store = LedgerStore(tx)
        state = await store.read_locked(user_id, provider, subscription_id, source_event)
        if state.current is None or not state.belongs_to_another:
            return state
        owner = state.current.user_id
        return await store.read_locked(owner, provider, subscription_id, source_event)

    async def apply_to(
        self,
        state: LockedSubscriptions,
        tx: Transaction,
        change: SubscriptionChange,
        *,
        source_event: SourceEvent,
    ) -> Applied:
        """`apply_in` with the state that `lock` returned. Raises what `apply` raises."""
        if state.belongs_to_another:
            raise SubscriptionBelongsToAnother()
        store, current = LedgerStore(tx), state.current
        if current is None:
            added = await self._add(store, change, source_event)
            return self._write_rows(store, change, source_event, state.rows, added)
        if state.repeated:
            return Applied(change.user_id, "repeated", current)
        if is_stale(change, current):
            return Applied(change.user_id, "stale", current)
        return self._write_rows(store, change, source_event, state.rows)

    def announce(self, applied: Applied) -> None:
        """Sends `subscription_updated` to the user's sockets, if anything changed."""
        if applied.update is not None:
            self.notifier.send_to_user(applied.user_id, "subscription_updated", applied.update)

    async def find(self, provider: Provider, provider_subscription_id: str) -> Subscription | None:
        """The row of a provider's subscription; many events contain only its id."""
        return await self.store.find(provider, provider_subscription_id)

    async def _add(
        self, store: LedgerStore, change: SubscriptionChange, event: SourceEvent
    ) -> Subscription:
        added = await store.add(change, change.status if change.status in LIVE else None)
        if added is not None:
            return added
        state = await store.read_locked(
            change.user_id, change.provider, change.provider_subscription_id, event
        )
        raise SubscriptionBelongsToAnother() if state.belongs_to_another else UnknownSubscriber()

    def _write_rows(
        self,
        store: LedgerStore,
        change: SubscriptionChange,
        event: SourceEvent,
        rows: Sequence[Subscription],
        added: Subscription | None = None,
    ) -> Applied:
        """Computes and writes the new state of all rows; does not wait for the database."""
        before = {row.id: row for row in rows}
        reported = rows if added is None else [*rows, added]
        after = elect(
            [change.onto(row) if _is_about(change, row) else row for row in reported], self.now()
        )
        about = next(row for row in after if _is_about(change, row))
        written = [row for row in after if row != before.get(row.id)]
        store.store(sorted(written, key=lambda row: row.status in LIVE), verified=about)
        if about not in written:
            store.verified(about)
        changes = [
            RowChange(before.get(row.id), row)
            for row in after
            if public_part(row) != public_part(before.get(row.id))
        ]
        counting = next((row for row in after if row.status in LIVE), None)
        for changed in changes:
            _record(store, change, event, changed, counting)
        if not changes:
            return Applied(change.user_id, "unchanged", about)
        store.mirror(change.user_id)
        shown = _shown(entitling(after, self.now()))
        return Applied(change.user_id, "applied", about, changes, shown)


def _shown(entitles: Subscription | None) -> SubscriptionUpdated:
    if entitles is None:
        return SubscriptionUpdated("free", shown_status(None))
    return SubscriptionUpdated(SLUGS[entitles.tier_id], shown_status(entitles.status))


def _record(
    store: LedgerStore,
    change: SubscriptionChange,
    event: SourceEvent,
    changed: RowChange,
    counting: Subscription | None,
) -> None:
    """A line of history. Only the row the event is about carries its id, which makes it count once:
    one event may change two subscriptions, and supersede the one with the other."""
    before, after = changed.before, changed.after
    about = _is_about(change, after)
    action: Action = action_of(before, after)
    if about and change.refunded and action in ("cancelled", "expired"):
        action = "refunded"
    metadata: dict[str, Any] = {
        "from_status": before.status if before else None,
        "to_status": after.status,
        "period_end": after.current_period_end.isoformat(),
        "as_of": after.as_of.isoformat(),
    }
    if after.superseded_status is not None and counting is not None:
        metadata["superseded_by"] = str(counting.id)
    if not about and event.ref is not None:
        metadata["event"] = event.ref
    if event.source == "reconciliation":
        metadata["action"] = action
        action = "reconciled"
    own = event if about else SourceEvent(event.source)
    store.record(action, own, before, after, metadata)


def _is_about(change: SubscriptionChange, row: Subscription) -> bool:
    return (row.provider, row.provider_subscription_id) == (
        change.provider,
        change.provider_subscription_id,
    )
