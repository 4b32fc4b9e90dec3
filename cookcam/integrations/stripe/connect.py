"""Connected accounts of creators, and the money that is sent to them."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from cookcam.integrations.stripe.accounts import Account, AccountLink, Transfer
from cookcam.integrations.stripe.asking import PAGE, Asking, given, new_key, page, url_in
from cookcam.integrations.stripe.reading import Page


class Connect(Asking):
    """Part of `Stripe`."""

    async def create_account(
        self, *, creator_id: UUID, country: str, email: str | None, idempotency_key: str
    ) -> Account:
        """An express account that can receive transfers, with `metadata.creator_id`.

        Raises StripeRefused for a country that Stripe does not serve.
        """
        params = given(
            type="express",
            country=country,
            email=email,
            business_type="individual",
            capabilities={"transfers": {"requested": True}},
            metadata={"creator_id": str(creator_id), "platform": "cookcam"},
        )
        answer = await self._ask(
            lambda client, options: client.v1.accounts.create_async(params, options),
            idempotency_key,
        )
        return Account.of(answer.document)

    async def retrieve_account(self, account_id: str) -> Account:
        answer = await self._ask(
            lambda client, options: client.v1.accounts.retrieve_async(account_id, None, options)
        )
        return Account.of(answer.document)

    async def create_account_link(
        self, account_id: str, *, return_url: str, refresh_url: str
    ) -> AccountLink:
        """A page on which the owner of an account tells Stripe what it needs to know."""
        params = given(
            account=account_id,
            return_url=return_url,
            refresh_url=refresh_url,
            type="account_onboarding",
        )
        answer = await self._ask(
            lambda client, options: client.v1.account_links.create_async(params, options),
            new_key(),
        )
        return AccountLink.of(answer.document)

    async def create_login_link(self, account_id: str) -> str:
        """The address of the account's dashboard, for one visit.

        Raises StripeRefused for an account whose onboarding is not complete.
        """
        answer = await self._ask(
            lambda client, options: client.v1.accounts.login_links.create_async(
                account_id, None, options
            ),
            new_key(),
        )
        return url_in(answer)

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
        """Sends money to a connected account: once for an idempotency key, in 24 hours at least.

        Raises StripeRefused, with `stripe_code` "balance_insufficient" when our balance is too
        low and "insufficient_capabilities_for_transfer" when the account cannot receive it.
        """
        params = given(
            amount=amount_cents,
            currency=currency,
            destination=account_id,
            metadata=dict(metadata),
            transfer_group=transfer_group,
        )
        answer = await self._ask(
            lambda client, options: client.v1.transfers.create_async(params, options),
            idempotency_key,
        )
        return Transfer.of(answer.document)

    async def retrieve_transfer(self, transfer_id: str) -> Transfer:
        answer = await self._ask(
            lambda client, options: client.v1.transfers.retrieve_async(transfer_id, None, options)
        )
        return Transfer.of(answer.document)

    async def list_transfers(
        self,
        *,
        account_id: str | None = None,
        transfer_group: str | None = None,
        starting_after: str | None = None,
        limit: int = PAGE,
    ) -> Page[Transfer]:
        """A page of the transfers to one account, of one group, or of all."""
        params = given(
            destination=account_id,
            transfer_group=transfer_group,
            starting_after=starting_after,
            limit=limit,
        )
        answer = await self._ask(
            lambda client, options: client.v1.transfers.list_async(params, options)
        )
        return page(answer, Transfer.of)
