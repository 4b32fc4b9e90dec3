"""The steps of a run that ask one provider: its list against our rows, then our rows one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
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
from cookcam.features.billing.reconciliation.progress import Progress
from cookcam.features.billing.reconciliation.sources import (
    Gone,
    Listing,
    Source,
    Told,
    UnknownCursor,
)
from cookcam.features.billing.reconciliation.store import FIRST, ReconciliationStore
from cookcam.features.billing.tiers.models import LIVE, Subscription
from cookcam.lifecycle.groups import ungrouped

CALLS: Final = 8
"""Requests to a provider at a time (`spec/payments-and-gamification.md` §8.2)."""

WRITES: Final = 4
"""Corrections at a time: the connections of the pool are for requests."""

AHEAD: Final = 2
"""Pages of a list that wait, fetched, while one is compared."""

GIVES_UP_AFTER: Final = 24
"""Readings in a row that failed in spite of their repeats: the provider is away."""

LAST = UUID(int=2**128 - 1)
"""Behind all ids."""


@frozen
class _Checked:
    """`verified` is the row that was as its provider says."""

    tally: Tally = Tally()
    verified: UUID | None = None


_BROKEN: Final = _Checked(Tally(checked=1, errors=1))


class _Failed(Exception):
    """The provider did not answer; it is logged."""


@define(eq=False)
class ProviderSteps:
    source: Source
    progress: Progress
    store: ReconciliationStore
    corrections: Corrections
    page: int
    _away: bool = field(default=False, init=False)
    _failed_in_a_row: int = field(default=0, init=False)
    _calls: trio.CapacityLimiter = field(init=False, factory=lambda: trio.CapacityLimiter(CALLS))
    _writes: trio.CapacityLimiter = field(init=False, factory=lambda: trio.CapacityLimiter(WRITES))

    @property
    def list_step(self) -> str:
        return f"{self.source.provider} list"

    @property
    def rows_step(self) -> str:
        return f"{self.source.provider} rows"

    async def compare_list(self, cursor: str | None) -> None:
        """The list from a place on. Where it breaks off, the rows it did not come to are left to
        `look_at_rows`."""
        broke = await self._compare_from(cursor)
        if isinstance(broke, UnknownCursor) and cursor is not None:
            # The end of the last page is gone. What was verified already is not counted again.
            self._log("list begins anew")
            broke = await self._compare_from(None)
        if broke is not None:
            code = broke.code if isinstance(broke, AppError) else "UNKNOWN_CURSOR"
            self._log("list broke off", code=code)
            self._away = isinstance(broke, AppError) and is_outage(broke)
            await self.progress.note(self.rows_step, None, Tally(cut_short=True))

    async def look_at_rows(self, cursor: str | None) -> None:
        """Each row that goes on here and was not verified in this run, by itself."""
        after, began_at = UUID(cursor) if cursor else FIRST, self.progress.run.began_at
        while not self._away:
            page = await self.store.unseen(self.source.provider, began_at, after, self.page)
            if not page.ids:
                return
            results = await _all((row.id, partial(self._check_row, row)) for row in page.rows)
            results += [_BROKEN] * page.unreadable
            if self._away:
                # Errors of this page are among those that are counted below.
                tally = sum((r.tally for r in results if not r.tally.errors), Tally())
                await self.progress.note(self.rows_step, str(after), tally, _verified(results))
                break
            after = page.ids[-1]
            tally = sum((result.tally for result in results), Tally())
            await self.progress.note(self.rows_step, str(after), tally, _verified(results))
        await self._count_unchecked(after)

    async def _count_unchecked(self, after: UUID) -> None:
        """Every row that a provider was not asked about because it is away is an error; an outage
        is one at least."""
        provider, began_at = self.source.provider, self.progress.run.began_at
        count = await self.store.count_unseen(provider, began_at, after)
        self._log("provider is away", unchecked=count)
        tally = Tally(checked=count, errors=max(count, 1), cut_short=True)
        await self.progress.note(self.rows_step, str(LAST), tally)

    async def _compare_from(self, cursor: str | None) -> AppError | UnknownCursor | None:
        """Returns why the list broke off, if it did."""
        send, receive = trio.open_memory_channel[Listing](AHEAD)
        broke: list[AppError | UnknownCursor] = []

        async def fetch() -> None:
            after = cursor
            async with send:
                while True:
                    try:
                        async with self._calls:
                            listing = await self.source.page(after)
                    except (AppError, UnknownCursor) as error:
                        broke.append(error)
                        return
                    if listing.next_after == after and after is not None:
                        broke.append(ServiceError("The list does not go on"))
                        return
                    await send.send(listing)
                    if listing.next_after is None:
                        return
                    after = listing.next_after

        with ungrouped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch)
                async with receive:
                    async for listing in receive:
                        await self._compare(listing)
        return broke[0] if broke else None

    async def _compare(self, listing: Listing) -> None:
        ids = [told.provider_subscription_id for told in listing.items]
        known = await self.store.known(self.source.provider, ids)
        agreeing: list[UUID] = []
        differing: list[tuple[Told, Subscription | None]] = []
        for told in listing.items:
            row = known.get(told.provider_subscription_id)
            if not rules.is_of_interest(told, row):
                continue
            if row is None or not rules.agree(told, row):
                differing.append((told, row))
            elif not self._is_verified(row):
                agreeing.append(row.id)
        results = await _all(
            (told.provider_subscription_id, partial(self._check_listed, told, row))
            for told, row in differing
        )
        results += [_BROKEN] * listing.unreadable
        tally = sum((result.tally for result in results), Tally(checked=len(agreeing)))
        step = self.list_step if listing.next_after else self.rows_step
        verified = [*agreeing, *_verified(results)]
        await self.progress.note(step, listing.next_after, tally, verified)

    def _is_verified(self, row: Subscription) -> bool:
        """In this run: it is counted already."""
        at = row.last_verified_at
        return at is not None and at >= self.progress.run.began_at

    async def _check_listed(self, told: Told, row: Subscription | None) -> _Checked:
        """Of what was listed and differs."""
        if row is None or not rules.is_outdated(told, row):
            return await self._correct(told, row)
        # Something newer is known than what was listed. What is told now, with that known, is the
        # newest.
        try:
            return await self._compare_with(row, await self._look(row))
        except _Failed:
            # What goes on here is looked at again with the rows.
            return _Checked() if row.provider_status in LIVE else _BROKEN

    async def _check_row(self, row: Subscription) -> _Checked:
        try:
            return await self._compare_with(row, await self._look(row))
        except _Failed:
            return _BROKEN

    async def _compare_with(self, row: Subscription, answer: Told | Gone) -> _Checked:
        if isinstance(answer, Told) and rules.agree(answer, row):
            return _Checked(Tally(checked=1), row.id)
        return await self._correct(answer, row)

    async def _correct(self, answer: Told | Gone, row: Subscription | None) -> _Checked:
        async with self._writes:
            outcome = await self.corrections.settle(answer, row, self.progress.count_corrected)
        match outcome:
            case "corrected":
                return _Checked()  # counted with the correction
            case "nothing":
                return _Checked(Tally(checked=1))
            case "unsolved":
                return _Checked(Tally(checked=1, drift=1))

    async def _look(self, row: Subscription) -> Told | Gone:
        async with self._calls:
            if self._away:
                raise _Failed
            try:
                answer = await self.source.look(row)
            except AppError as error:
                self._note_failure(row, error)
                raise _Failed from None
        self._failed_in_a_row = 0
        return answer

    def _note_failure(self, row: Subscription, error: AppError) -> None:
        """An id is logged, and the code: the provider's words may hold more."""
        self._log("subscription could not be checked", subscription=str(row.id), code=error.code)
        if is_outage(error):
            self._failed_in_a_row += 1
            self._away = self._failed_in_a_row >= GIVES_UP_AFTER

    def _log(self, event: str, **fields: object) -> None:
        structlog.get_logger("cookcam.reconciliation").warning(
            event, provider=self.source.provider, **fields
        )


async def _all(
    checks: Iterable[tuple[object, Callable[[], Awaitable[_Checked]]]],
) -> list[_Checked]:
    """All checks at once, each with the id it is logged by; how many ask or write at a time is
    bounded inside. One that fails is an error of its row; an outage of the database is raised.
    """
    results: list[_Checked] = []

    async def one(about: object, check: Callable[[], Awaitable[_Checked]]) -> None:
        try:
            results.append(await check())
        except ServiceUnavailable:
            raise
        except Exception as error:
            structlog.get_logger("cookcam.reconciliation").error(
                "subscription could not be reconciled", subscription=str(about), exc_info=error
            )
            results.append(_BROKEN)

    with ungrouped():
        async with trio.open_nursery() as nursery:
            for about, check in checks:
                nursery.start_soon(one, about, check)
    return results


def _verified(results: Sequence[_Checked]) -> list[UUID]:
    return [result.verified for result in results if result.verified is not None]
