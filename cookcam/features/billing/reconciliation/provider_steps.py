"""The steps of a run that read one provider: its list against our rows, then the other rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final
from uuid import UUID

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, ServiceError, ServiceUnavailable
from cookcam.features.billing.reconciliation import rules
from cookcam.features.billing.reconciliation.corrections import Corrections, is_outage
from cookcam.features.billing.reconciliation.models import Tally
from cookcam.features.billing.reconciliation.sources.models import (
    InvalidCursor,
    ProviderSubscription,
    SubscriptionPage,
    SubscriptionSource,
    UnknownSubscription,
)
from cookcam.features.billing.reconciliation.store import MIN_ID, ReconciliationStore, RunProgress
from cookcam.features.billing.tiers.models import LIVE, Subscription

MAX_REQUESTS: Final = 8
"""Concurrent requests to a provider."""

MAX_WRITES: Final = 4
"""Concurrent corrections, so that connections of the pool remain for requests."""

PREFETCHED_PAGES: Final = 2
"""Pages of a list that are fetched while one is compared."""

MAX_FAILURES: Final = 24
"""Consecutive failed reads, each after its retries, until the provider counts as unavailable."""

MAX_ID: Final = UUID(int=2**128 - 1)


@frozen
class CheckResult:
    """`verified` is the id of a row that agrees with its provider."""

    tally: Tally = Tally()
    verified: UUID | None = None


ERROR: Final = CheckResult(Tally(checked=1, errors=1))


class FetchFailed(Exception):
    """The provider's state could not be read; logged."""


@define(eq=False)
class ProviderSteps:
    """`page_size` is in rows."""

    source: SubscriptionSource
    progress: RunProgress
    store: ReconciliationStore
    corrections: Corrections
    page_size: int
    _unavailable: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)
    _requests: trio.CapacityLimiter = field(
        init=False, factory=lambda: trio.CapacityLimiter(MAX_REQUESTS)
    )
    _writes: trio.CapacityLimiter = field(
        init=False, factory=lambda: trio.CapacityLimiter(MAX_WRITES)
    )

    @property
    def list_step(self) -> str:
        return f"{self.source.provider} list"

    @property
    def rows_step(self) -> str:
        return f"{self.source.provider} rows"

    async def compare_list(self, cursor: str | None) -> None:
        """Compares the list from a cursor on. If it ends early, `check_rows` checks the rest."""
        failure = await self._compare_from(cursor)
        if isinstance(failure, InvalidCursor) and cursor is not None:
            # The last row of the previous page is gone. Verified rows are not counted again.
            self._log("list restarted")
            failure = await self._compare_from(None)
        if failure is not None:
            code = failure.code if isinstance(failure, AppError) else "UNKNOWN_CURSOR"
            self._log("list ended early", code=code)
            self._unavailable = isinstance(failure, AppError) and is_outage(failure)
            await self.progress.checkpoint(self.rows_step, None, Tally(cut_short=True))

    async def check_rows(self, cursor: str | None) -> None:
        """Fetches each live row that was not verified in this run."""
        after, began_at = UUID(cursor) if cursor else MIN_ID, self.progress.run.began_at
        while not self._unavailable:
            page = await self.store.unverified(
                self.source.provider, began_at, after, self.page_size
            )
            if not page.ids:
                return
            results = await _run_all((row.id, partial(self._check_row, row)) for row in page.rows)
            results += [ERROR] * page.unreadable
            if self._unavailable:
                # The errors of this page are among those that `_count_unchecked` counts.
                tally = sum((r.tally for r in results if not r.tally.errors), Tally())
                await self.progress.checkpoint(
                    self.rows_step, str(after), tally, _verified(results)
                )
                break
            after = page.ids[-1]
            tally = sum((result.tally for result in results), Tally())
            await self.progress.checkpoint(self.rows_step, str(after), tally, _verified(results))
        await self._count_unchecked(after)

    async def _count_unchecked(self, after: UUID) -> None:
        """Counts an error for each row that was not checked during an outage, and at least one."""
        provider, began_at = self.source.provider, self.progress.run.began_at
        count = await self.store.count_unverified(provider, began_at, after)
        self._log("provider unavailable", unchecked=count)
        tally = Tally(checked=count, errors=max(count, 1), cut_short=True)
        await self.progress.checkpoint(self.rows_step, str(MAX_ID), tally)

    async def _compare_from(self, cursor: str | None) -> AppError | InvalidCursor | None:
        """Returns the failure that ended the list early, if any."""
        send, receive = trio.open_memory_channel[SubscriptionPage](PREFETCHED_PAGES)
        failures: list[AppError | InvalidCursor] = []

        async def fetch_pages() -> None:
            after = cursor
            async with send:
                while True:
                    try:
                        async with self._requests:
                            page = await self.source.list_page(after)
                    except (AppError, InvalidCursor) as error:
                        failures.append(error)
                        return
                    if page.next_after == after and after is not None:
                        failures.append(ServiceError("The list does not advance"))
                        return
                    await send.send(page)
                    if page.next_after is None:
                        return
                    after = page.next_after

        with raise_single_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch_pages)
                async with receive:
                    async for page in receive:
                        await self._compare(page)
        return failures[0] if failures else None

    async def _compare(self, page: SubscriptionPage) -> None:
        ids = [reported.provider_subscription_id for reported in page.items]
        rows = await self.store.find_by_provider_id(self.source.provider, ids)
        agreeing: list[UUID] = []
        differing: list[tuple[ProviderSubscription, Subscription | None]] = []
        for reported in page.items:
            row = rows.get(reported.provider_subscription_id)
            if not rules.needs_check(reported, row):
                continue
            if row is None or not rules.agree(reported, row):
                differing.append((reported, row))
            elif not self._is_verified(row):
                agreeing.append(row.id)
        results = await _run_all(
            (reported.provider_subscription_id, partial(self._check_listed, reported, row))
            for reported, row in differing
        )
        results += [ERROR] * page.unreadable
        tally = sum((result.tally for result in results), Tally(checked=len(agreeing)))
        step = self.list_step if page.next_after else self.rows_step
        verified = [*agreeing, *_verified(results)]
        await self.progress.checkpoint(step, page.next_after, tally, verified)

    def _is_verified(self, row: Subscription) -> bool:
        """Whether the row was verified, and counted, in this run."""
        at = row.last_verified_at
        return at is not None and at >= self.progress.run.began_at

    async def _check_listed(
        self, reported: ProviderSubscription, row: Subscription | None
    ) -> CheckResult:
        """Checks a listed subscription that differs from its row."""
        if row is None or not rules.may_be_outdated(reported, row):
            return await self._correct(reported, row)
        # The row is newer than the list: the provider's current state decides.
        try:
            return await self._compare_with(row, await self._fetch(row))
        except FetchFailed:
            # A live row is checked again by `check_rows`.
            return CheckResult() if row.provider_status in LIVE else ERROR

    async def _check_row(self, row: Subscription) -> CheckResult:
        try:
            return await self._compare_with(row, await self._fetch(row))
        except FetchFailed:
            return ERROR

    async def _compare_with(
        self, row: Subscription, reported: ProviderSubscription | UnknownSubscription
    ) -> CheckResult:
        if isinstance(reported, ProviderSubscription) and rules.agree(reported, row):
            return CheckResult(Tally(checked=1), row.id)
        return await self._correct(reported, row)

    async def _correct(
        self, reported: ProviderSubscription | UnknownSubscription, row: Subscription | None
    ) -> CheckResult:
        async with self._writes:
            result = await self.corrections.correct(reported, row, self.progress.count_corrected)
        match result:
            case "corrected":
                return CheckResult()  # counted in the correction's transaction
            case "unchanged":
                return CheckResult(Tally(checked=1))
            case "unresolved":
                return CheckResult(Tally(checked=1, drift=1))

    async def _fetch(self, row: Subscription) -> ProviderSubscription | UnknownSubscription:
        async with self._requests:
            if self._unavailable:
                raise FetchFailed
            try:
                reported = await self.source.fetch(row)
            except AppError as error:
                self._record_failure(row, error)
                raise FetchFailed from None
        self._failures = 0
        return reported

    def _record_failure(self, row: Subscription, error: AppError) -> None:
        """Logs id and code only: the provider's message may contain more."""
        self._log("subscription could not be checked", subscription=str(row.id), code=error.code)
        if is_outage(error):
            self._failures += 1
            self._unavailable = self._failures >= MAX_FAILURES

    def _log(self, event: str, **fields: object) -> None:
        structlog.get_logger("cookcam.reconciliation").warning(
            event, provider=self.source.provider, **fields
        )


async def _run_all(
    checks: Iterable[tuple[object, Callable[[], Awaitable[CheckResult]]]],
) -> list[CheckResult]:
    """Runs all checks concurrently, each with the id for the log; their limiters are in them.

    A check that fails is an error of its row; an outage of the database is raised.
    """
    results: list[CheckResult] = []

    async def run_one(row_id: object, check: Callable[[], Awaitable[CheckResult]]) -> None:
        try:
            results.append(await check())
        except ServiceUnavailable:
            raise
        except Exception as error:
            structlog.get_logger("cookcam.reconciliation").error(
                "subscription could not be reconciled", subscription=str(row_id), exc_info=error
            )
            results.append(ERROR)

    with raise_single_error():
        async with trio.open_nursery() as nursery:
            for row_id, check in checks:
                nursery.start_soon(run_one, row_id, check)
    return results


def _verified(results: Sequence[CheckResult]) -> list[UUID]:
    return [result.verified for result in results if result.verified is not None]


@contextmanager
def raise_single_error() -> Generator[None]:
    """Raises the first AppError of a nursery's group, unless the group has other errors too."""
    try:
        yield
    except ExceptionGroup as group:
        app_errors, others = group.split(AppError)
        if app_errors is None or others is not None:
            raise
        error: BaseException = app_errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
    else:
        return
    raise error
