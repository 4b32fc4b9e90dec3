"""Where Stripe may send a creator back to.

Stripe wants web addresses and the app has its own scheme, so the app's addresses become pages of
this server that redirect to them (`spec/client-contract.md` §5.5 F4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from cookcam.features.literals import refused
from cookcam.features.subscriptions.redirects import is_page_of, origins_of
from cookcam.web.paths import CANONICAL

SCHEME: Final = "cookcam://"
PAGES: Final = frozenset(
    {
        "creator-kyc-complete",
        "creator-kyc-refresh",
        "creator-onboarding-complete",
        "creator-onboarding-refresh",
    }
)
"""The addresses of the app that there are pages for."""

PATH: Final = "/subscription/creator/stripe/return/"


@frozen
class Returns:
    """`api` is the public address of this server, `origins` the web pages of the project."""

    api: str
    website: str
    origins: frozenset[str]

    @classmethod
    def of(cls, *, api: str, website: str, origins: Iterable[str]) -> Returns:
        return cls(api, website, origins_of([api, website, *origins]))

    def checked(self, url: str, field: str) -> str:
        """The address Stripe is told. Raises ValidationError for one that is not of the project."""
        if url.startswith(SCHEME):
            page = url.removeprefix(SCHEME)
            if page in PAGES:
                return f"{self.api}{CANONICAL}{PATH}{page}"
        elif is_page_of(url, self.origins):
            return url
        raise refused("Return URL not allowed", field)

    @property
    def onboarded(self) -> str:
        return f"{self.website}/creator/dashboard?onboarding=complete"

    @property
    def again(self) -> str:
        return f"{self.website}/creator/dashboard?onboarding=refresh"
