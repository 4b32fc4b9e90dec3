"""Guards of paid routes, under `@signed_in`:

    gates = Gates(entitlements)

    @bp.get("/subscription/creator/balance")
    @signed_in
    @gates.creator
    async def balance(caller: Identity) -> Balance: ...

A user without the tier or feature gets a 403 (`cookcam.features.billing.errors`), a failed read is
a 500 with the guard's text, and an outage a 503.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from attrs import frozen

from cookcam.errors import DatabaseError
from cookcam.features.billing.tiers.models import TierSlug
from cookcam.features.billing.tiers.service import Entitlements
from cookcam.identity import Identity

P = ParamSpec("P")
R = TypeVar("R")

View = Callable[Concatenate[Identity, P], Awaitable[R]]


class Guard(Protocol):
    def __call__(self, view: View[P, R], /) -> View[P, R]: ...


@frozen
class Gates:
    entitlements: Entitlements

    def tier_required(self, slug: TierSlug) -> Guard:
        """Requires the tier or a higher one; raises UpgradeRequired for other users."""
        return self._guard(
            lambda caller: self.entitlements.require_tier(caller.user_id, slug),
            "Failed to verify subscription tier",
        )

    def feature_required(self, key: str) -> Guard:
        """Requires a tier with the feature; raises FeatureUnavailable for other users."""
        return self._guard(
            lambda caller: self.entitlements.require_feature(caller.user_id, key),
            "Failed to verify feature access",
        )

    def creator(self, view: View[P, R]) -> View[P, R]:
        """Requires a creator; raises CreatorRequired for other users."""
        guard = self._guard(
            lambda caller: self.entitlements.require_creator(caller.user_id),
            "Failed to verify creator status",
        )
        return guard(view)

    def _guard(self, check: Callable[[Identity], Awaitable[None]], failed: str) -> Guard:
        def guard(view: View[P, R]) -> View[P, R]:
            @wraps(view)
            async def guarded(caller: Identity, /, *args: P.args, **kwargs: P.kwargs) -> R:
                try:
                    await check(caller)
                except DatabaseError as error:
                    raise DatabaseError(error=failed) from error
                return await view(caller, *args, **kwargs)

            return guarded

        return guard
