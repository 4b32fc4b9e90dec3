"""One run: Stripe, the app stores, ended periods, profiles, metrics.

| step              | what                                                                       |
|-------------------|----------------------------------------------------------------------------|
| `stripe list`     | all subscriptions at Stripe, page by page, against our rows and vice versa |
| `<provider> rows` | each live row that was on no list, one by one                              |
| `expire`          | rows whose period ended, if they were verified in this run                 |
| `profiles`        | users whose tier changed by time alone                                     |

A checkpoint after each page stores the next page and the counts. A correction is counted in its
own transaction. So a run that was killed continues with the page it was on; corrections of that
page agree by then and are not counted twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias
from uuid import UUID

import structlog
from attrs import frozen

from cookcam.errors import ServiceUnavailable
from cookcam.features.billing.reconciliation import rules
from cookcam.features.billing.reconciliation.corrections import Corrections
from cookcam.features.billing.reconciliation.models import RunMetrics, Tally
from cookcam.features.billing.reconciliation.provider_steps import ProviderSteps
from cookcam.features.billing.reconciliation.sources.models import SubscriptionSource
from cookcam.features.billing.reconciliation.store import MIN_ID, ReconciliationStore, RunProgress
from cookcam.features.billing.tiers.models import Provider, Subscription

PROVIDERS: Final[Sequence[Provider]] = ("stripe", "ios", "android")

PAGE_SIZE: Final = 500
"""Rows."""

Step: TypeAlias = Callable[[str | None], Awaitable[None]]
"""Runs from a cursor on; None is the beginning."""


@frozen
class Job:
    """A run from its last checkpoint on."""

    progress: RunProgress
    sources: Sequence[SubscriptionSource]
    store: ReconciliationStore
    corrections: Corrections
    page_size: int = PAGE_SIZE

    async def run(self) -> RunMetrics:
        """Runs the remaining steps.

        Raises ServiceUnavailable (including LeaseLost) or another AppError when the database fails;
        the run can then be resumed. Failures of a provider are counted, not raised.
        """
        await self._warn_about_missing_sources()
        steps = self._steps()
        names = [*steps, "done"]
        first, cursor = self.progress.run.step, self.progress.run.cursor
        if first not in names:
            first, cursor = names[0], None
        for number, name in enumerate(names[:-1]):
            if number < names.index(first):
                continue
            await steps[name](cursor if name == first else None)
            await self.progress.checkpoint(names[number + 1], None)
        return await self.progress.finish()

    def _steps(self) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for source in self.sources:
            provider_steps = ProviderSteps(
                source, self.progress, self.store, self.corrections, self.page_size
            )
            if source.can_list:
                steps[provider_steps.list_step] = provider_steps.compare_list
            steps[provider_steps.rows_step] = provider_steps.check_rows
        return {**steps, "expire": self._expire, "profiles": self._refresh_profiles}

    async def _warn_about_missing_sources(self) -> None:
        available = {source.provider for source in self.sources}
        for provider in PROVIDERS:
            if provider in available:
                continue
            began_at = self.progress.run.began_at
            count = await self.store.count_unverified(provider, began_at, MIN_ID)
            if count:
                structlog.get_logger("cookcam.reconciliation").warning(
                    "no source for a provider", provider=provider, unchecked=count
                )

    async def _expire(self, cursor: str | None) -> None:
        began_at = self.progress.run.began_at
        after = UUID(cursor) if cursor else MIN_ID
        while (page := await self.store.ended(began_at, after, self.page_size)).ids:
            failed = [row for row in page.rows if not await self._expire_row(row)]
            after, errors = page.ids[-1], len(failed) + page.unreadable
            tally = Tally(checked=errors, errors=errors)
            await self.progress.checkpoint("expire", str(after), tally)

    async def _expire_row(self, row: Subscription) -> bool:
        # Rows of a provider were counted as checked when they were verified.
        count = partial(self.progress.count_expired, checked=int(row.provider == "manual"))
        change = rules.expire(row, self.progress.run.began_at)
        return await _succeeds(row.id, partial(self.corrections.apply, change, count))

    async def _refresh_profiles(self, cursor: str | None) -> None:
        after = UUID(cursor) if cursor else MIN_ID
        while users := await self.store.outdated_profiles(after, self.page_size):
            results = [
                await _succeeds(user_id, partial(self.corrections.refresh_profile, user_id))
                for user_id in users
            ]
            after, errors = users[-1], results.count(False)
            tally = Tally(checked=errors, errors=errors)
            await self.progress.checkpoint("profiles", str(after), tally)


async def _succeeds(row_id: UUID, write: Callable[[], Awaitable[object]]) -> bool:
    """Runs `write` for one row; returns False, and logs the error, when it fails.

    Raises ServiceUnavailable during an outage of the database.
    """
    try:
        await write()
    except ServiceUnavailable:
        raise
    except Exception as error:
        structlog.get_logger("cookcam.reconciliation").error(
            "row could not be reconciled", row=str(row_id), exc_info=error
        )
        return False
    return True
