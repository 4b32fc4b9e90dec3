"""Connected accounts of creators, and transfers to them."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from cookcam.integrations.stripe.accounts import Account, AccountLink, Transfer
from cookcam.integrations.stripe.reading import Page
from cookcam.integrations.stripe.requests import (
    MAX_PAGE,
    StripeRequests,
    new_idempotency_key,
    parse_page,
    parse_url,
    without_none,
)


class Connect(StripeRequests):
    """Part of `Stripe`."""

    async def create_account(
        self, *, creator_id: UUID, country: str, email: str | None, idempotency_key: str
    ) -> Account:
        """Creates an express account that can receive transfers, with `metadata.creator_id`.

        Raises StripeRejected for a country that Stripe does not serve.
        """
        params = without_none(
            type="express",
            country=country,
            email=email,
            business_type="individual",
            capabilities={"transfers": {"requested": True}},
            metadata={"creator_id": str(creator_id), "platform": "cookcam"},
        )
        response = await self._call("accounts.create", params, key=idempotency_key)
        return Account.of(response.document)

    async def retrieve_account(self, account_id: str) -> Account:
        response = await self._call("accounts.retrieve", account_id, None)
        return Account.of(response.document)

    async def create_account_link(
        self, account_id: str, *, return_url: str, refresh_url: str
    ) -> AccountLink:
        """Creates an onboarding page for the owner of an account."""
        params = without_none(
            account=account_id,
            return_url=return_url,
            refresh_url=refresh_url,
            type="account_onboarding",
        )
        response = await self._call("account_links.create", params, key=new_idempotency_key())
        return AccountLink.of(response.document)

    async def create_login_link(self, account_id: str) -> str:
        """Creates a single-use URL of the account's dashboard.

        Raises StripeRejected for an account whose onboarding is not complete.
        """
        response = await self._call(
            "accounts.login_links.create", account_id, None, key=new_idempotency_key()
        )
        return parse_url(response)

    async def create_transfer(
        self,
        *,
        account_id: str,
        amount_cents: int,
        metadata: Mapping[str, str],
        idempotency_key: str,
        currency: str = "usd",
        transfer_group: str | None = None,
    ) -> Transfer:
        """Transfers money to a connected account, once for each idempotency key in 24 hours.

        Raises StripeRejected, with `stripe_code` "balance_insufficient" when our balance is too
        low and "insufficient_capabilities_for_transfer" when the account cannot receive it.
        """
        params = without_none(
            amount=amount_cents,
            currency=currency,
            destination=account_id,
            metadata=dict(metadata),
            transfer_group=transfer_group,
        )
        response = await self._call("transfers.create", params, key=idempotency_key)
        return Transfer.of(response.document)

    async def list_transfers(
        self,
        *,
        account_id: str | None = None,
        transfer_group: str | None = None,
        starting_after: str | None = None,
        limit: int = MAX_PAGE,
    ) -> Page[Transfer]:
        """A page of the transfers, of one account or one group if given."""
        params = without_none(
            destination=account_id,
            transfer_group=transfer_group,
            starting_after=starting_after,
            limit=limit,
        )
        response = await self._call("transfers.list", params)
        return parse_page(response, Transfer.of)
