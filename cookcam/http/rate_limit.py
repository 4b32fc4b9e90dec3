"""Request quotas: named buckets, each with a quota.

Each bucket has its own counters (`global:{address}`, `auth:{address}`), so other requests never use
up the quota of sign-ins. `cookcam.sliding_windows` has the counters.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen

from cookcam.config.sections import LimitsConfig
from cookcam.errors import RateLimited
from cookcam.http.security_headers import Header
from cookcam.sliding_windows import Quota, QuotaCounters, QuotaState

GLOBAL, GLOBAL_OF_REGULAR, GLOBAL_OF_CREATOR = "global", "global:regular", "global:creator"
"""All requests: of a client address or a free user, and of users of the paid tiers."""
TIER_FACTORS: Mapping[str, int] = {GLOBAL: 1, GLOBAL_OF_REGULAR: 10, GLOBAL_OF_CREATOR: 50}
"""Multiples of the configured limit. With 100 in 15 minutes: 100, 1,000 and 5,000."""
AUTH = "auth"
WRONG_PASSWORDS_OF_PAIR = "wrong passwords:pair"
"""Failed sign-ins by client address and account, over four windows of AUTH."""
WRONG_PASSWORDS_OF_ACCOUNT = "wrong passwords:account"
"""Failed sign-ins of an account from all addresses. Slows further ones and rejects none, so
that others cannot lock out the owner."""
RECOVERY_MAILS = "recovery mails"
"""Mails to one e-mail address."""
UNVERIFIED = "unverified webhooks"
"""Webhook deliveries of a client address that failed verification."""
PAYMENTS = "payments"
"""Payments and payouts that a user starts. Low, against testing stolen cards."""
ANALYTICS = "analytics"
"""Requests that record events of the app. Generous: an app sends what it has queued at once."""
COSTLY_FOR_USERS = "costly:users"
COSTLY_FOR_GUESTS = "costly:guests"
"""Requests that cost money or the server's quota at a provider."""

MAX_UNVERIFIED = 20

_MESSAGES: Mapping[str, str] = {
    AUTH: "Too many authentication attempts, please try again later",
    WRONG_PASSWORDS_OF_PAIR: "Too many authentication attempts, please try again later",
}


def quota_headers(state: QuotaState) -> tuple[Header, ...]:
    return (
        (b"ratelimit-limit", b"%d" % state.limit),
        (b"ratelimit-remaining", b"%d" % state.remaining),
        (b"ratelimit-reset", b"%d" % state.reset),
    )


@define(slots=False, eq=False)
class LimitReached(RateLimited):
    """A 429 with the state of the quota that is used up. `error` is the message, not the code."""

    verdict: QuotaState | None = field(default=None, kw_only=True)
    bucket: str = field(default="", kw_only=True)

    @classmethod
    def of(cls, bucket: str, verdict: QuotaState) -> LimitReached:
        message = _MESSAGES.get(bucket, cls.default_message)
        return cls(
            message, error=message, retry_after=verdict.retry_after, verdict=verdict, bucket=bucket
        )

    @property
    def headers(self) -> list[tuple[str, str]]:
        quota = quota_headers(self.verdict) if self.verdict is not None else ()
        return [*super().headers, *((name.decode(), value.decode()) for name, value in quota)]


@frozen
class RateLimits:
    """The quotas of requests, by bucket, and their counters."""

    quotas: Mapping[str, Quota]
    counters: QuotaCounters = field(factory=QuotaCounters)

    @classmethod
    def of(cls, config: LimitsConfig, counters: QuotaCounters | None = None) -> RateLimits:
        """The buckets of the configuration; none at all when limits are off."""
        if not config.enabled:
            return cls({})
        window, auth_window = config.window_ms / 1000, config.auth_window_ms / 1000
        quotas = [
            *(Quota(name, by * config.max_requests, window) for name, by in TIER_FACTORS.items()),
            Quota(AUTH, config.auth_max_requests, auth_window),
            Quota(WRONG_PASSWORDS_OF_PAIR, config.auth_max_requests, 4 * auth_window),
            Quota(WRONG_PASSWORDS_OF_ACCOUNT, config.auth_max_requests, auth_window),
            Quota(RECOVERY_MAILS, config.auth_max_requests, auth_window),
            Quota(UNVERIFIED, min(config.max_requests, MAX_UNVERIFIED), window),
            Quota(PAYMENTS, 10, 600),
            Quota(ANALYTICS, 600, 60),
            Quota(COSTLY_FOR_USERS, 10, 60),
            Quota(COSTLY_FOR_GUESTS, 3, 60),
        ]
        return cls({quota.name: quota for quota in quotas}, counters or QuotaCounters())

    async def spend(self, bucket: str, key: str, *, count: bool = True) -> QuotaState | None:
        """Counts one request, or only checks without `count`; None if unlimited.

        Raises LimitReached when there is none left.
        """
        quota = self.quotas.get(bucket)
        if quota is None:
            return None
        state = await self.counters.spend(key, quota, count=count)
        if not state.allowed:
            raise LimitReached.of(bucket, state)
        return state

    async def forget(self, bucket: str, key: str) -> None:
        """Reset the quota of `key`."""
        if bucket in self.quotas:
            await self.counters.forget(key, self.quotas[bucket])
