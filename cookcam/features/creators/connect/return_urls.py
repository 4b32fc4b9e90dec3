"""The URLs to which Stripe may return a creator.

Stripe accepts only web URLs, so the app's `cookcam://` addresses are replaced by pages of this
server that redirect to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from cookcam.features.billing.stripe.redirects import is_page_of, origins_of
from cookcam.features.literals import rejected_field
from cookcam.http.routing import CANONICAL

SCHEME: Final = "cookcam://"
PAGES: Final = frozenset(
    {
        "creator-kyc-complete",
        "creator-kyc-refresh",
        "creator-onboarding-complete",
        "creator-onboarding-refresh",
    }
)
"""The app addresses that have a redirect page."""

PATH: Final = "/subscription/creator/stripe/return/"


@frozen
class ReturnUrls:
    """`api` is the public URL of this server, `origins` are the project's web origins."""

    api: str
    website: str
    origins: frozenset[str]

    @classmethod
    def of(cls, *, api: str, website: str, origins: Iterable[str]) -> ReturnUrls:
        return cls(api, website, origins_of([api, website, *origins]))

    def checked(self, url: str, field: str) -> str:
        """The URL to pass to Stripe. Raises ValidationError for a URL outside the project."""
        if url.startswith(SCHEME):
            page = url.removeprefix(SCHEME)
            if page in PAGES:
                return f"{self.api}{CANONICAL}{PATH}{page}"
        elif is_page_of(url, self.origins):
            return url
        raise rejected_field("Return URL not allowed", field)

    @property
    def onboarding_complete(self) -> str:
        return f"{self.website}/creator/dashboard?onboarding=complete"

    @property
    def onboarding_refresh(self) -> str:
        return f"{self.website}/creator/dashboard?onboarding=refresh"
