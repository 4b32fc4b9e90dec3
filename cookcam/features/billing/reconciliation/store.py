"""The SQL of reconciliation: turns, runs and their progress, pages of rows, metrics and views."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import structlog
from attrs import frozen

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

TURN: LiteralString = (
    "select pg_try_advisory_xact_lock(hashtextextended('cookcam.reconciliation', 0))"
)

# Looking must not take it, not for a moment: a run that begins just then would give up.
TAKEN: LiteralString = """
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

UNFINISHED = f"""
update public.reconciliation_runs set holder = %(holder)s
where finished_at is null
returning {RUN}"""  # noqa: S608 - constants

BEGIN = f"""
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

CORRECTED: LiteralString = """
update public.reconciliation_runs set
  total_checked = total_checked + 1,
  updated_count = updated_count + 1,
  drift_detected = drift_detected + 1
where id = %(id)s and holder = %(holder)s and finished_at is null"""

EXPIRED: LiteralString = """
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

VERIFIED: LiteralString = """
update public.user_subscriptions set last_verified_at = now() where id = any(%(ids)s)"""

KNOWN = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider = %(provider)s and s.provider_subscription_id = any(%(ids)s)"""  # noqa: S608

# What goes on here and was not seen at its provider since the run began.
UNSEEN = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider = %(provider)s
  and coalesce(s.superseded_status, s.status) in {LIVE}
  and (s.last_verified_at is null or s.last_verified_at < %(began_at)s)
  and s.id > %(after)s
order by s.id limit %(limit)s"""  # noqa: S608 - constants

COUNT_UNSEEN = f"""
select count(*) from public.user_subscriptions s
where s.provider = %(provider)s
  and coalesce(s.superseded_status, s.status) in {LIVE}
  and (s.last_verified_at is null or s.last_verified_at < %(began_at)s)
  and s.id > %(after)s"""  # noqa: S608 - constants

# Only what its provider was asked about in this run; a grant by hand has nobody to ask. Each
# provider apart, as the index is.
RAN_OUT = f"""
select {COLUMNS} from public.user_subscriptions s
where s.provider in ('stripe', 'ios', 'android', 'manual')
  and coalesce(s.superseded_status, s.status) in {LIVE}
  and coalesce(s.superseded_status, s.status) <> 'past_due'
  and s.current_period_end <= %(began_at)s
  and (s.provider = 'manual' or s.last_verified_at >= %(began_at)s)
  and s.provider_subscription_id is not null
  and s.id > %(after)s
order by s.id limit %(limit)s"""  # noqa: S608 - constants

# What goes on here; and of the stores, which cannot be asked for a list, what may have been renewed
# since it ended here. Google forgets a purchase 60 days after its end.
OF_USER = f"""
select {COLUMNS} from public.user_subscriptions s
where s.user_id = %(user_id)s and s.provider <> 'manual'
  and (
    coalesce(s.superseded_status, s.status) in {LIVE}
    or (s.provider <> 'stripe' and s.current_period_end > now() - interval '60 days')
  )
order by s.id limit 1000"""  # noqa: S608 - constants

# Whose profile does not say what they are entitled to: a period or a grace ended by itself.
MISTAKEN = f"""
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

ROW = f"select {COLUMNS} from public.user_subscriptions s where s.id = %(id)s"  # noqa: S608

METRICS: LiteralString = """
select id, total_checked, expired_count, updated_count, errors_count, drift_detected, duration_ms,
  reconciled_at, cut_short
from public.reconciliation_metrics order by reconciled_at desc, id limit %(limit)s"""

HEALTH: LiteralString = "select * from public.reconciliation_health_view limit 31"
ALERTS: LiteralString = "select * from public.reconciliation_alerts_view limit 1000"

FIRST = UUID(int=0)
"""Before all ids."""


class LeaseLost(ServiceUnavailable):
    """Another process has taken the run over, or its turn ended with a lost connection."""


@frozen
class Turn:
    """The right to run. It is held by a transaction of its own, and ends with its connection."""

    _tx: Transaction

    async def confirm(self) -> None:
        """Raises ServiceUnavailable when the connection, and the turn with it, is lost."""
        await self._tx.fetch_value("select 1")


@frozen
class LastRun:
    """When the newest run began, and ended if it has."""

    began_at: datetime
    finished_at: datetime | None


@frozen
class _Id:
    id: UUID


@frozen
class RowPage:
    """`ids` are those of the whole page, of rows that could not be read too."""

    rows: Sequence[Subscription]
    ids: Sequence[UUID]

    @property
    def unreadable(self) -> int:
        return len(self.ids) - len(self.rows)


@frozen
class ReconciliationStore:
    database: Database

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[Turn | None]:
        """The turn for the length of the block; None while another process, or task, has it.

        An advisory lock of a transaction, so that it works through a transaction pooler and ends
        when the process is killed.
        """
        async with self.database.transaction() as tx:
            yield Turn(tx) if await tx.fetch_value(TURN) else None

    async def is_running(self) -> bool:
        return await self.database.fetch_value_as(SERVICE, TAKEN)

    async def last_run(self) -> LastRun | None:
        return await self.database.fetch_optional_as(SERVICE, LastRun, LAST_RUN)

    async def take(self, holder: UUID) -> Run | None:
        """The run that was interrupted, which is `holder`'s from now on."""
        async with self.database.transaction() as tx:
            return await tx.fetch_optional(Run, UNFINISHED, holder=holder)

    async def begin(self, holder: UUID) -> Run:
        async with self.database.transaction() as tx:
            return await tx.fetch_one(Run, BEGIN, holder=holder)

    async def checkpoint(
        self,
        run: Run,
        step: str,
        cursor: str | None,
        tally: Tally,
        worked_ms: int,
        verified: Sequence[UUID] = (),
    ) -> None:
        """A page is done: what was seen on it, and where the next one begins. Raises TurnLost."""
        async with self.database.transaction() as tx:
            if verified:
                await tx.execute(VERIFIED, ids=list(verified))
            await _held(
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
        """In the transaction of the correction. Raises TurnLost."""
        await _held(tx, CORRECTED, run)

    async def count_expired(self, tx: Transaction, run: Run, *, checked: int) -> None:
        """In the transaction of the correction. Raises TurnLost."""
        await _held(tx, EXPIRED, run, checked=checked)

    async def finish(self, run: Run, worked_ms: int, *, cut_short: bool = False) -> RunMetrics:
        """Closes the run and keeps its counts. Raises TurnLost."""
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

    async def known(self, provider: Provider, ids: Sequence[str]) -> dict[str, Subscription]:
        """Rows by the provider's id."""
        page = await self._page(KNOWN, provider=provider, ids=list(ids))
        return {row.provider_subscription_id or "": row for row in page.rows}

    async def unseen(
        self, provider: Provider, began_at: datetime, after: UUID, limit: int
    ) -> RowPage:
        return await self._page(
            UNSEEN, provider=provider, began_at=began_at, after=after, limit=limit
        )

    async def count_unseen(self, provider: Provider, began_at: datetime, after: UUID) -> int:
        return await self.database.fetch_value_as(
            SERVICE, COUNT_UNSEEN, provider=provider, began_at=began_at, after=after
        )

    async def ran_out(self, began_at: datetime, after: UUID, limit: int) -> RowPage:
        return await self._page(RAN_OUT, began_at=began_at, after=after, limit=limit)

    async def of_user(self, user_id: UUID) -> list[Subscription]:
        return await self.database.fetch_all_as(SERVICE, Subscription, OF_USER, user_id=user_id)

    async def mistaken_profiles(self, after: UUID, limit: int) -> list[UUID]:
        rows = await self.database.fetch_all_as(SERVICE, _Id, MISTAKEN, after=after, limit=limit)
        return [row.id for row in rows]

    async def metrics(self, limit: int) -> list[RunMetrics]:
        """The newest runs that are over."""
        return await self.database.fetch_all_as(SERVICE, RunMetrics, METRICS, limit=limit)

    async def health(self) -> list[HealthRow]:
        return await self.database.fetch_all_as(SERVICE, HealthRow, HEALTH)

    async def alerts(self) -> list[AlertRow]:
        return await self.database.fetch_all_as(SERVICE, AlertRow, ALERTS)

    async def _page(self, statement: LiteralString, **params: object) -> RowPage:
        """Rows of a page. Where one cannot be read, as one that ends at `infinity`, all are read
        one by one, and that one is logged and left out."""
        try:
            rows = await self.database.fetch_all_as(SERVICE, Subscription, statement, **params)
            return RowPage(rows, [row.id for row in rows])
        except InvalidInput:
            found = await self.database.fetch_all_as(
                SERVICE,
                _Id,
                f"select page.id from ({statement}) page",  # noqa: S608 - constants
                **params,
            )
        rows, ids = list[Subscription](), [one.id for one in found]
        for row_id in ids:
            try:
                rows += await self.database.fetch_all_as(SERVICE, Subscription, ROW, id=row_id)
            except InvalidInput:
                structlog.get_logger("cookcam.reconciliation").error(
                    "stored subscription cannot be read", subscription=str(row_id)
                )
        return RowPage(rows, ids)


async def _held(tx: Transaction, statement: LiteralString, run: Run, **params: object) -> None:
    """Writes to the run, unless somebody else holds it by now."""
    if not await tx.execute(statement, id=run.id, holder=run.holder, **params):
        raise LeaseLost
