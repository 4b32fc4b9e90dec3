"""Creators' Stripe accounts: onboarding, and updates from Stripe."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Transaction
from cookcam.errors import (
    AppError,
    AuthorizationError,
    Conflict,
    NotFound,
    ServiceError,
    ServiceUnavailable,
)
from cookcam.features.creators.connect.return_urls import ReturnUrls
from cookcam.features.creators.connect.store import AccountRows, AccountStore
from cookcam.features.creators.models import AccountStatus, StripeAccount
from cookcam.features.literals import rejected_field
from cookcam.integrations.stripe import NoSuchObject, Stripe, StripeRejected
from cookcam.integrations.stripe.accounts import Account, AccountLink
from cookcam.integrations.stripe.events import Event

_COUNTRY = re.compile(r"[A-Z]{2}")


@frozen
class Onboarding:
    account: StripeAccount
    url: str = field(repr=False)


@frozen
class AccountReading:
    """A creator's account read from Stripe; `latest` is None when our access was revoked."""

    account_id: str
    latest: Account | None
    read_at: datetime


@frozen
class StripeAccounts:
    """One Stripe account for each creator. `stripe` is None when payments are not configured."""

    store: AccountStore
    stripe: Stripe | None
    returns: ReturnUrls
    now: Callable[[], datetime] = field(repr=False)

    async def of(self, creator_id: UUID) -> StripeAccount | None:
        """The stored account as last reported by Stripe. Sends no request, so it may be polled."""
        return await self.store.of_creator(creator_id)

    async def onboard(self, creator_id: UUID, country: str) -> Onboarding:
        """Creates the creator's account if there is none; returns it with its onboarding URL.

        Raises ValidationError for an invalid country, and ServiceError when Stripe rejects it.
        """
        country = country.upper()
        if not _COUNTRY.fullmatch(country):
            raise rejected_field("Invalid country", "country")
        stripe = self._stripe()
        account = await self.store.of_creator(creator_id)
        if account is None or account.account_status == "disabled":
            account = await self._open(stripe, creator_id, country, account)
        try:
            link = await stripe.create_account_link(
                account.stripe_account_id,
                return_url=self.returns.onboarding_complete,
                refresh_url=self.returns.onboarding_refresh,
            )
        except StripeRejected as rejection:
            raise ServiceError(error="Failed to generate onboarding link") from rejection
        return Onboarding(account, link.url)

    async def _open(
        self, stripe: Stripe, creator_id: UUID, country: str, previous: StripeAccount | None
    ) -> StripeAccount:
        """Creates an account. It replaces `previous`, to which the creator revoked our access."""
        replaces = previous.stripe_account_id if previous else None
        try:
            # A fixed key: if the row cannot be written, the next request gets the same account.
            opened = await stripe.create_account(
                creator_id=creator_id,
                country=country,
                email=None,
                idempotency_key=f"connect-account:{creator_id}:{replaces or ''}",
            )
        except StripeRejected as rejection:
            raise ServiceError(error="Failed to create Stripe account") from rejection
        return await self.store.add(
            creator_id, opened.id, opened.country or country, replaces=replaces
        )

    async def link(
        self, creator_id: UUID, account_id: str | None, return_url: str, refresh_url: str
    ) -> AccountLink:
        """Creates an onboarding page of Stripe that returns to the given URLs.

        Raises NotFound without an account, AuthorizationError for another creator's account,
        ValidationError for a foreign URL, and ServiceError when Stripe rejects the request.
        """
        account = await self._own(
            creator_id, account_id, "No Stripe account found. Please start onboarding first."
        )
        back = self.returns.checked(return_url, "return_url")
        again = self.returns.checked(refresh_url, "refresh_url")
        try:
            return await self._stripe().create_account_link(
                account.stripe_account_id, return_url=back, refresh_url=again
            )
        except StripeRejected as rejection:
            raise ServiceError(error="Failed to create account link") from rejection

    async def dashboard(self, creator_id: UUID) -> str:
        """A single-use URL of the creator's Stripe dashboard.

        Raises NotFound without an account, and Conflict while the onboarding is incomplete.
        """
        account = await self._own(creator_id, None, "Stripe account not found")
        try:
            return await self._stripe().create_login_link(account.stripe_account_id)
        except NoSuchObject as rejection:
            raise ServiceError(error="Failed to get dashboard link") from rejection
        except StripeRejected as rejection:
            message = "Stripe account not ready"
            raise Conflict(message, error=message) from rejection

    async def refresh(self, creator_id: UUID, account_id: str | None) -> None:
        """Reads the account from Stripe and stores its state.

        Raises NotFound without an account, AuthorizationError for another creator's account, and
        ServiceError (502) when Stripe fails.
        """
        account = await self._own(creator_id, account_id, "No Stripe account found")
        stripe, read_at = self._stripe(), self.now()
        try:
            latest = await stripe.retrieve_account(account.stripe_account_id)
        except AppError as error:
            raise ServiceError(error="Failed to refresh account status") from error
        await self.store.refresh(
            account.stripe_account_id, **_account_fields(latest), read_at=read_at
        )

    async def _own(self, creator_id: UUID, account_id: str | None, not_found: str) -> StripeAccount:
        """The creator's account. Raises NotFound with the text `not_found`, AuthorizationError."""
        account = await self.store.of_creator(creator_id)
        if account is None:
            raise NotFound(not_found, error=not_found)
        if account_id not in (None, account.stripe_account_id):
            message = "This Stripe account belongs to another creator"
            raise AuthorizationError(message, error=message)
        return account

    def _stripe(self) -> Stripe:
        if self.stripe is None:
            raise ServiceUnavailable("Payments are not configured")
        return self.stripe

    # Webhook events

    async def read(self, event: Event) -> AccountReading | None:
        """Reads the account of `account.updated` from Stripe, since events arrive out of order."""
        if event.account is None:
            return None
        account_id, read_at = event.account, self.now()
        try:
            latest = await self._stripe().retrieve_account(account_id)
        except NoSuchObject:  # our access was revoked meanwhile
            latest = None
        return AccountReading(account_id, latest, read_at)

    async def store_reading(self, tx: Transaction, reading: AccountReading) -> None:
        """`account.updated`: stores the account as it was read."""
        rows, latest = AccountRows(tx), reading.latest
        if latest is None:
            await rows.disable(reading.account_id)
        else:
            await rows.refresh(
                reading.account_id, **_account_fields(latest), read_at=reading.read_at
            )

    async def deauthorize(self, tx: Transaction, event: Event) -> None:
        """`account.application.deauthorized`: disables the account for transfers."""
        if event.account is not None:
            await AccountRows(tx).disable(event.account)


def status_of(account: Account) -> AccountStatus:
    """The status by the `transfers` capability. Accounts request no other capability, so
    `charges_enabled` does not count."""
    if not account.details_submitted:
        return "pending"
    return "active" if account.transfers_active and account.payouts_enabled else "restricted"


def _account_fields(account: Account) -> dict[str, Any]:
    return {
        "status": status_of(account),
        "details_submitted": account.details_submitted,
        "charges_enabled": account.charges_enabled,
        "payouts_enabled": account.payouts_enabled,
        "requirements_due": account.requirements_due,
        "country": account.country,
        "currency": account.currency,
    }
