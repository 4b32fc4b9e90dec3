"""The SQL of reconciliation: the lock, runs and their checkpoints, pages of rows, metrics."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import structlog
import trio
from attrs import define, field, frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import InvalidInput, ServiceUnavailable
from cookcam.features.billing.reconciliation.models import (
    AlertRow,
    HealthRow,
    Run,
    RunMetrics,
    Tally,
)
from cookcam.features.billing.tiers.models import Provider, Subscription
from cookcam.features.billing.tiers.store import COLUMNS

LIVE: LiteralString = "('active', 'trialing', 'past_due')"

LOCK: LiteralString = (
    "select pg_try_advisory_xact_lock(hashtextextended('cookcam.reconciliation', 0))"
)

# Without taking the lock: a run that starts at that moment would find it taken and give up.
IS_LOCKED: LiteralString = """
select exists (
  select
  from pg_catalog.pg_locks l, (select hashtextextended('cookcam.reconciliation', 0) as key) k
  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
    and l.classid = ((k.key >> 32) & 4294967295)::oid
    and l.objid = (k.key & 4294967295)::oid
)"""

RUN: LiteralString = """
  id, holder, step, cursor, total_checked, expired_count, updated_count, errors_count,
  drift_detected, worked_ms, began_at, finished_at"""

RESUME = f"""
update public.reconciliation_runs set holder = %(holder)s
where finished_at is null
returning {RUN}"""  # noqa: S608 - constants

START = f"""
insert into public.reconciliation_runs (holder) values (%(holder)s)
returning {RUN}"""  # noqa: S608 - constants

LAST_RUN: LiteralString = """
select began_at, finished_at from public.reconciliation_runs order by began_at desc limit 1"""

CHECKPOINT: LiteralString = """
update public.reconciliation_runs set
  step = %(step)s,
  cursor = %(cursor)s,
  total_checked = total_checked + %(checked)s,
  errors_count = errors_count + %(errors)s,
  drift_detected = drift_detected + %(drift)s,
  cut_short = cut_short or %(cut_short)s,
  worked_ms = worked_ms + %(worked_ms)s
where id = %(id)s and holder = %(holder)s and finished_at is null"""

COUNT_CORRECTED: LiteralString = """
update public.reconciliation_runs set
  total_checked = total_checked + 1,
  updated_count = updated_count + 1,
  drift_detected = drift_detected + 1
where id = %(id)s and holder = %(holder)s and finished_at is null"""

COUNT_EXPIRED: LiteralString = """
update public.reconciliation_runs set
  expired_count = expired_count + 1, total_checked = total_checked + %(checked)s
where id = %(id)s and holder = %(holder)s and finished_at is null"""

FINISH: LiteralString = """
with finished as (
  update public.reconciliation_runs set
    finished_at = now(), worked_ms = worked_ms + %(worked_ms)s,
    cut_short = cut_short or %(cut_short)s
  where id = %(id)s and holder = %(holder)s and finished_at is null
  returning *
)
insert into public.reconciliation_metrics (
  total_checked, expired_count, updated_count, errors_count, drift_detected, duration_ms, cut_short
)
select
  total_checked, expired_count, updated_count, errors_count, drift_detected,
  least(worked_ms, 2147483647), cut_short
from finished
returning id, total_checked, expired_count, updated_count, errors_count, drift_detected,
  duration_ms, reconciled_at, cut_short"""

MARK_VERIFIED: LiteralString = """
update public.user_subscriptions set last_verified_at = now() where id = any(%(ids)s)"""

FIND_BY_PROVIDER_ID = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider = %(provider)s and s.provider_subscription_id = any(%(ids)s)"""  # noqa: S608

# Live rows that were not verified since the run began.
UNVERIFIED = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider = %(provider)s
  and coalesce(s.superseded_status, s.status) in {LIVE}
  and (s.last_verified_at is null or s.last_verified_at < %(began_at)s)
  and s.id > %(after)s
order by s.id limit %(limit)s"""  # noqa: S608 - constants

COUNT_UNVERIFIED = f"""
select count(*) from public.user_subscriptions s
where s.provider = %(provider)s
  and coalesce(s.superseded_status, s.status) in {LIVE}
  and (s.last_verified_at is null or s.last_verified_at < %(began_at)s)
  and s.id > %(after)s"""  # noqa: S608 - constants

# Rows whose period ended, if they were verified in this run; manual grants have no provider. The
# list of providers is there for the index, which is by provider.
ENDED = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider in ('stripe', 'ios', 'android', 'manual')
  and coalesce(s.superseded_status, s.status) in {LIVE}
  and coalesce(s.superseded_status, s.status) <> 'past_due'
  and s.current_period_end <= %(began_at)s
  and (s.provider = 'manual' or s.last_verified_at >= %(began_at)s)
  and s.provider_subscription_id is not null
  and s.id > %(after)s
order by s.id limit %(limit)s"""  # noqa: S608 - constants

# Live rows; and of the app stores, which have no list, rows that may have been renewed after they
# ended here. Google deletes a purchase 60 days after its end.
OF_USER = f"""
select {COLUMNS} from public.user_subscriptions s
where s.user_id = %(user_id)s and s.provider <> 'manual'
  and (
    coalesce(s.superseded_status, s.status) in {LIVE}
    or (s.provider <> 'stripe' and s.current_period_end > now() - interval '60 days')
  )
order by s.id limit 1000"""  # noqa: S608 - constants

# Users whose profile differs from their entitlement, since a period or grace period ended.
OUTDATED_PROFILES = f"""
select u.id from public.users u
where u.id > %(after)s
  and (
    u.is_creator
    or exists (
      select from public.user_subscriptions s
      where s.user_id = u.id and s.tier_id = 3 and s.status in {LIVE}
    )
  )
  and u.is_creator <> (public.user_tier_id(u.id) = 3)
order by u.id limit %(limit)s"""  # noqa: S608 - constants

FIND = f"select {COLUMNS} from public.user_subscriptions s where s.id = %(id)s"  # noqa: S608

METRICS: LiteralString = """
select id, total_checked, expired_count, updated_count, errors_count, drift_detected, duration_ms,
  reconciled_at, cut_short
from public.reconciliation_metrics order by reconciled_at desc, id limit %(limit)s"""

HEALTH: LiteralString = "select * from public.reconciliation_health_view limit 31"
ALERTS: LiteralString = "select * from public.reconciliation_alerts_view limit 1000"

MIN_ID = UUID(int=0)


class LeaseLost(ServiceUnavailable):
    """Another process has resumed the run, or the connection that held the lock is lost."""


@frozen
class RunLock:
    """The lock for runs, held by a transaction of its own; it ends with the connection."""

    _tx: Transaction

    async def check(self) -> None:
        """Raises ServiceUnavailable when the connection, and so the lock, is lost."""
        await self._tx.fetch_value("select 1")


@frozen
class LastRun:
    """The newest run; `finished_at` is None until it is finished."""

    began_at: datetime
    finished_at: datetime | None


@frozen
class _Id:
    id: UUID


@frozen
class RowPage:
    """`ids` has the ids of all rows of the page, including those that could not be read."""

    rows: Sequence[Subscription]
    ids: Sequence[UUID]

    @property
    def unreadable(self) -> int:
        return len(self.ids) - len(self.rows)


@frozen
class ReconciliationStore:
    database: Database

    @asynccontextmanager
    async def lock(self) -> AsyncGenerator[RunLock | None]:
        """Holds the lock for the length of the block; None while another process or task has it.

        An advisory lock of a transaction, so that it works through a transaction pooler and ends
        when the process is killed.
        """
        async with self.database.transaction() as tx:
            yield RunLock(tx) if await tx.fetch_value(LOCK) else None

    async def is_running(self) -> bool:
        return await self.database.fetch_value_as(SERVICE, IS_LOCKED)

    async def last_run(self) -> LastRun | None:
        return await self.database.fetch_optional_as(SERVICE, LastRun, LAST_RUN)

    async def resume(self, holder: UUID) -> Run | None:
        """The interrupted run, if any, with `holder` as its new holder."""
        async with self.database.transaction() as tx:
            return await tx.fetch_optional(Run, RESUME, holder=holder)

    async def start(self, holder: UUID) -> Run:
        async with self.database.transaction() as tx:
            return await tx.fetch_one(Run, START, holder=holder)

    async def checkpoint(
        self,
        run: Run,
        step: str,
        cursor: str | None,
        tally: Tally,
        worked_ms: int,
        verified: Sequence[UUID] = (),
    ) -> None:
        """Stores the next position, and a page's counts and verified rows. Raises LeaseLost."""
        async with self.database.transaction() as tx:
            if verified:
                await tx.execute(MARK_VERIFIED, ids=list(verified))
            await _update_run(
                tx,
                CHECKPOINT,
                run,
                step=step,
                cursor=cursor,
                checked=tally.checked,
                errors=tally.errors,
                drift=tally.drift,
                cut_short=tally.cut_short,
                worked_ms=worked_ms,
            )

    async def count_corrected(self, tx: Transaction, run: Run) -> None:
        """In the transaction of the correction. Raises LeaseLost."""
        await _update_run(tx, COUNT_CORRECTED, run)

    async def count_expired(self, tx: Transaction, run: Run, *, checked: int) -> None:
        """In the transaction of the correction. Raises LeaseLost."""
        await _update_run(tx, COUNT_EXPIRED, run, checked=checked)

    async def finish(self, run: Run, worked_ms: int, *, cut_short: bool = False) -> RunMetrics:
        """Finishes the run and stores its metrics. Raises LeaseLost."""
        async with self.database.transaction() as tx:
            metrics = await tx.fetch_optional(
                RunMetrics,
                FINISH,
                id=run.id,
                holder=run.holder,
                worked_ms=worked_ms,
                cut_short=cut_short,
            )
            if metrics is None:
                raise LeaseLost
        return metrics

    async def find_by_provider_id(
        self, provider: Provider, ids: Sequence[str]
    ) -> dict[str, Subscription]:
        """Provider's id → row."""
        page = await self._page(FIND_BY_PROVIDER_ID, provider=provider, ids=list(ids))
        return {row.provider_subscription_id or "": row for row in page.rows}

    async def unverified(
        self, provider: Provider, began_at: datetime, after: UUID, limit: int
    ) -> RowPage:
        return await self._page(
            UNVERIFIED, provider=provider, began_at=began_at, after=after, limit=limit
        )

    async def count_unverified(self, provider: Provider, began_at: datetime, after: UUID) -> int:
        return await self.database.fetch_value_as(
            SERVICE, COUNT_UNVERIFIED, provider=provider, began_at=began_at, after=after
        )

    async def ended(self, began_at: datetime, after: UUID, limit: int) -> RowPage:
        return await self._page(ENDED, began_at=began_at, after=after, limit=limit)

    async def of_user(self, user_id: UUID) -> list[Subscription]:
        return await self.database.fetch_all_as(SERVICE, Subscription, OF_USER, user_id=user_id)

    async def outdated_profiles(self, after: UUID, limit: int) -> list[UUID]:
        rows = await self.database.fetch_all_as(
            SERVICE, _Id, OUTDATED_PROFILES, after=after, limit=limit
        )
        return [row.id for row in rows]

    async def metrics(self, limit: int) -> list[RunMetrics]:
        """The newest finished runs."""
        return await self.database.fetch_all_as(SERVICE, RunMetrics, METRICS, limit=limit)

    async def health(self) -> list[HealthRow]:
        return await self.database.fetch_all_as(SERVICE, HealthRow, HEALTH)

    async def alerts(self) -> list[AlertRow]:
        return await self.database.fetch_all_as(SERVICE, AlertRow, ALERTS)

    async def _page(self, statement: LiteralString, **params: object) -> RowPage:
        """A page of rows. If one cannot be read, such as one that ends at `infinity`, the rows are
        read one by one, and that one is logged and left out."""
        try:
            rows = await self.database.fetch_all_as(SERVICE, Subscription, statement, **params)
            return RowPage(rows, [row.id for row in rows])
        except InvalidInput:
            listed = await self.database.fetch_all_as(
                SERVICE,
                _Id,
                f"select page.id from ({statement}) page",  # noqa: S608 - constants
                **params,
            )
        rows, ids = list[Subscription](), [row.id for row in listed]
        for row_id in ids:
            try:
                rows += await self.database.fetch_all_as(SERVICE, Subscription, FIND, id=row_id)
            except InvalidInput:
                structlog.get_logger("cookcam.reconciliation").error(
                    "stored subscription cannot be read", subscription=str(row_id)
                )
        return RowPage(rows, ids)


async def _update_run(
    tx: Transaction, statement: LiteralString, run: Run, **params: object
) -> None:
    """Raises LeaseLost when another process holds the run."""
    if not await tx.execute(statement, id=run.id, holder=run.holder, **params):
        raise LeaseLost


@define(eq=False)
class RunProgress:
    """Checkpoints and counts of a run.

    Every method raises LeaseLost when another process has resumed the run, and ServiceUnavailable
    when the lock's connection is lost, so that no two processes work on one run.
    """

    run: Run
    store: ReconciliationStore
    lock: RunLock
    _measured_until: float = field(factory=trio.current_time, init=False)

    async def checkpoint(
        self,
        step: str,
        cursor: str | None,
        tally: Tally | None = None,
        verified: Sequence[UUID] = (),
    ) -> None:
        """Stores the position of the next page, and the counts and verified rows of this one."""
        await self.lock.check()
        await self.store.checkpoint(
            self.run, step, cursor, tally or Tally(), self._new_worked_ms(), verified
        )

    async def count_corrected(self, tx: Transaction) -> None:
        """In the transaction of the correction; counts as a check too."""
        await self.store.count_corrected(tx, self.run)

    async def count_expired(self, tx: Transaction, *, checked: int) -> None:
        """In the transaction of the correction."""
        await self.store.count_expired(tx, self.run, checked=checked)

    async def finish(self) -> RunMetrics:
        await self.lock.check()
        return await self.store.finish(self.run, self._new_worked_ms())

    def _new_worked_ms(self) -> int:
        """Milliseconds since the last call."""
        since, self._measured_until = self._measured_until, trio.current_time()
        return round(1000 * (self._measured_until - since))
