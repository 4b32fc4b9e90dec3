"""The one way in which subscriptions change: Stripe's webhooks, app stores and reconciliation.

What is told, and what becomes of it (`spec/payments-and-gamification.md` §3.6, `database.md` §2.5):

| told            | the row    | entitles                         | history                       |
|-----------------|------------|----------------------------------|-------------------------------|
| incomplete      | incomplete | no: the first payment is missing | created                       |
| trialing        | trialing   | until the end of the period      | created, reactivated          |
| active          | active     | until the end of the period      | created, renewed, reactivated |
| active, another | active     | the same, to the other tier      | upgraded, downgraded          |
|   tier          |            |                                  |                               |
| active, will    | active     | until the end of the period      | scheduled_cancel; taken back: |
|   not renew     |            |                                  | reactivated                   |
| past_due        | past_due   | until 7 days after the period    | past_due; paid: renewed       |
| cancelled       | cancelled  | no                               | cancelled, or refunded        |
| expired         | expired    | no                               | expired, or refunded          |

Any state may follow any other: what holds is the newest of each subscription, by the provider's own
time. What is older changes nothing, what is the same is only noted as verified.

Of a user's subscriptions that go on at their providers one counts, the one that entitles now, to
the highest tier, paid for rather than given, for the longest. The others are superseded:
`cancelled` here (history: cancelled), with `superseded_status` as told. Their providers still
charge: `Applied.superseded` names them, so that whoever caused it cancels them there. Should the
one that counts end first, the best of them takes its place (history: reactivated).

What is told by reconciliation is `reconciled` in the history, with the word above in its metadata.
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
from cookcam.realtime.hub import Hub

Outcome = Literal["applied", "unchanged", "stale", "repeated"]


class SubscriptionUpdated(Struct):
    """`subscription_updated`, to all sockets of the user."""

    tier: TierSlug
    status: ShownStatus


@frozen
class RowChange:
    """A row that changed; `before` is None for a new one."""

    before: Subscription | None
    after: Subscription


@frozen
class Applied:
    """What became of a change.

    `applied`: something changed. `unchanged`: it was known. `stale`: something newer was known.
    `repeated`: this event has changed this subscription before. `subscription` is the row the
    change was about, as it is now; `changes` are all rows that changed, that one among them or not.
    """

    user_id: UUID
    outcome: Outcome
    subscription: Subscription
    changes: Sequence[RowChange] = ()
    update: SubscriptionUpdated | None = None

    @property
    def superseded(self) -> Sequence[Subscription]:
        """What this change superseded: it goes on at its provider, who has to be told."""
        return [
            change.after
            for change in self.changes
            if change.after.superseded_status
            and not (change.before and change.before.superseded_status)
        ]

    @property
    def ended(self) -> Sequence[Subscription]:
        """What was going on at its provider before this change and is no longer."""
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
    hub: Hub
    now: Callable[[], datetime]

    async def apply(self, change: SubscriptionChange, *, source_event: SourceEvent) -> Applied:
        """Applies a change in a transaction of its own, and tells the user's sockets of it.

        Changes of one user take turns, whatever their provider. Raises UnknownSubscriber, also for
        a deleted account; SubscriptionBelongsToAnother when the provider's subscription is bound to
        another user; ConstraintViolation for a period that ends before it starts.
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
        """What there is, for `apply_to`: of the user whose the subscription is, or else of
        `user_id`. Nobody else changes it until the end of the transaction.
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
        """`apply_in`, when what there is has been read. Raises what `apply` raises."""
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
        """`subscription_updated` to the user's sockets, if anything changed."""
        if applied.update is not None:
            self.hub.send_to_user(applied.user_id, "subscription_updated", applied.update)

    async def find(self, provider: Provider, provider_subscription_id: str) -> Subscription | None:
        """The row of a provider's subscription: events often name no more than that."""
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
        """Writes what becomes of all rows; nothing here waits for the database."""
        before = {row.id: row for row in rows}
        told = rows if added is None else [*rows, added]
        after = elect(
            [change.onto(row) if _is_about(change, row) else row for row in told], self.now()
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
    one event may tell of two subscriptions, and supersede the one with the other."""
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
