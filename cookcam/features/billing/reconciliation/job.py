"""One run: Stripe, the stores, what ran out, profiles, metrics.

| step              | what                                                                         |
|-------------------|------------------------------------------------------------------------------|
| `stripe list`     | all subscriptions at Stripe, page by page, against our rows: both directions |
| `<provider> rows` | each row that goes on here and was on no list, by itself                     |
| `expire`          | what ran out, if its provider was asked in this run                          |
| `profiles`        | users whose tier changed by time alone                                       |

After each page its end is noted, with what was counted on it. A correction is counted in the
transaction that makes it. So a run that is killed goes on with the page it was on, and what had
been corrected on that page is in order by then and is not counted again.
Source: `spec/payments-and-gamification.md` §8.2.
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
from cookcam.features.billing.reconciliation.progress import Progress
from cookcam.features.billing.reconciliation.provider_steps import ProviderSteps
from cookcam.features.billing.reconciliation.sources import Source
from cookcam.features.billing.reconciliation.store import FIRST, ReconciliationStore
from cookcam.features.billing.tiers.models import Provider, Subscription

PROVIDERS: Final[Sequence[Provider]] = ("stripe", "ios", "android")

PAGE: Final = 500
"""Rows (`spec/payments-and-gamification.md` §8.2)."""

Step: TypeAlias = Callable[[str | None], Awaitable[None]]
"""Works from a place on; None: from the beginning."""


@frozen
class Job:
    """The rest of a run that has the turn. `page` is in rows."""

    progress: Progress
    sources: Sequence[Source]
    store: ReconciliationStore
    corrections: Corrections
    page: int = PAGE

    async def work(self) -> RunMetrics:
        """Does what is left of the run.

        Raises ServiceUnavailable (TurnLost among it) or another AppError when the database fails:
        the run can be taken up from its last page. What a provider does is no error but counted.
        """
        await self._tell_of_missing_sources()
        steps = self._steps()
        names = [*steps, "done"]
        begun, cursor = self.progress.place
        if begun not in names:
            begun, cursor = names[0], None
        for number, name in enumerate(names[:-1]):
            if number < names.index(begun):
                continue
            await steps[name](cursor if name == begun else None)
            await self.progress.note(names[number + 1], None)
        return await self.progress.finish()

    def _steps(self) -> dict[str, Step]:
        steps: dict[str, Step] = {}
        for source in self.sources:
            of_provider = ProviderSteps(
                source, self.progress, self.store, self.corrections, self.page
            )
            if source.lists:
                steps[of_provider.list_step] = of_provider.compare_list
            steps[of_provider.rows_step] = of_provider.look_at_rows
        return {**steps, "expire": self._expire, "profiles": self._profiles}

    async def _tell_of_missing_sources(self) -> None:
        asked, began_at = {source.provider for source in self.sources}, self.progress.run.began_at
        for provider in PROVIDERS:
            if provider in asked:
                continue
            count = await self.store.count_unseen(provider, began_at, FIRST)
            if count:
                structlog.get_logger("cookcam.reconciliation").warning(
                    "no source for a provider", provider=provider, unchecked=count
                )

    async def _expire(self, cursor: str | None) -> None:
        began_at = self.progress.run.began_at
        after = UUID(cursor) if cursor else FIRST
        while (page := await self.store.ran_out(began_at, after, self.page)).ids:
            failed = [row for row in page.rows if not await self._expire_row(row)]
            after, errors = page.ids[-1], len(failed) + page.unreadable
            await self.progress.note("expire", str(after), Tally(checked=errors, errors=errors))

    async def _expire_row(self, row: Subscription) -> bool:
        """False for one that could not be written. Raises ServiceUnavailable in an outage."""
        # The others were counted when their provider was asked.
        count = partial(self.progress.count_expired, checked=int(row.provider == "manual"))
        change = rules.expired(row, self.progress.run.began_at)
        return await _contained(row.id, partial(self.corrections.apply, change, count))

    async def _profiles(self, cursor: str | None) -> None:
        after = UUID(cursor) if cursor else FIRST
        while users := await self.store.mistaken_profiles(after, self.page):
            failed = [user_id for user_id in users if not await self._refresh_profile(user_id)]
            after, errors = users[-1], len(failed)
            await self.progress.note("profiles", str(after), Tally(checked=errors, errors=errors))

    async def _refresh_profile(self, user_id: UUID) -> bool:
        return await _contained(user_id, partial(self.corrections.refresh_profile, user_id))


async def _contained(about: UUID, work: Callable[[], Awaitable[object]]) -> bool:
    """Whether the work on one row succeeded: its failure is logged and does not end the run.

    Raises ServiceUnavailable in an outage of the database, which does.
    """
    try:
        await work()
    except ServiceUnavailable:
        raise
    except Exception as error:
        structlog.get_logger("cookcam.reconciliation").error(
            "row could not be reconciled", row=str(about), exc_info=error
        )
        return False
    return True
