"""The SQL of creators' Stripe accounts, under the server's role."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.features.creators.models import AccountStatus, StripeAccount

COLUMNS: LiteralString = """
  a.creator_id, a.stripe_account_id, a.account_status, a.details_submitted, a.charges_enabled,
  a.payouts_enabled, a.country, a.currency"""

OF_CREATOR = f"""
select {COLUMNS} from public.creator_stripe_accounts a
where a.creator_id = %(creator_id)s"""  # noqa: S608 - constants

ADD: LiteralString = """
insert into public.creator_stripe_accounts as a (
  creator_id, stripe_account_id, country, read_at
)
values (%(creator_id)s, %(account_id)s, %(country)s, '-infinity')
on conflict (creator_id) do update set
  stripe_account_id = excluded.stripe_account_id, country = excluded.country, read_at = '-infinity',
  account_status = 'pending', details_submitted = false, requirements_due = '{}'
where a.stripe_account_id = %(replaces)s"""

# An older reading never replaces a newer one. An account that revoked our access stays disabled.
REFRESH: LiteralString = """
update public.creator_stripe_accounts set
  account_status = %(status)s,
  details_submitted = %(details_submitted)s,
  charges_enabled = %(charges_enabled)s,
  payouts_enabled = %(payouts_enabled)s,
  requirements_due = %(requirements_due)s,
  country = coalesce(%(country)s, country),
  currency = coalesce(%(currency)s, currency),
  read_at = %(read_at)s
where stripe_account_id = %(account_id)s and read_at <= %(read_at)s
  and account_status <> 'disabled'"""

DISABLE: LiteralString = """
update public.creator_stripe_accounts set
  account_status = 'disabled', charges_enabled = false, payouts_enabled = false
where stripe_account_id = %(account_id)s"""


@frozen
class AccountStore:
    database: Database = field(repr=False)

    async def of_creator(self, creator_id: UUID) -> StripeAccount | None:
        return await self.database.fetch_optional_as(
            SERVICE, StripeAccount, OF_CREATOR, creator_id=creator_id
        )

    async def add(
        self, creator_id: UUID, account_id: str, country: str, *, replaces: str | None
    ) -> StripeAccount:
        """Stores the account; returns the creator's account, which is another one if a concurrent
        request stored its own first."""
        async with self.database.transaction() as tx:
            await tx.execute(
                ADD,
                creator_id=creator_id,
                account_id=account_id,
                country=country,
                replaces=replaces,
            )
            return await tx.fetch_one(StripeAccount, OF_CREATOR, creator_id=creator_id)

    async def refresh(self, account_id: str, **fields: Any) -> None:
        async with self.database.transaction() as tx:
            await AccountRows(tx).refresh(account_id, **fields)


@frozen
class AccountRows:
    """Writes in the given transaction."""

    tx: Transaction

    async def refresh(
        self,
        account_id: str,
        *,
        status: AccountStatus,
        details_submitted: bool,
        charges_enabled: bool,
        payouts_enabled: bool,
        requirements_due: Sequence[str],
        country: str | None,
        currency: str | None,
        read_at: datetime,
    ) -> None:
        await self.tx.execute(
            REFRESH,
            account_id=account_id,
            status=status,
            details_submitted=details_submitted,
            charges_enabled=charges_enabled,
            payouts_enabled=payouts_enabled,
            requirements_due=list(requirements_due),
            country=country,
            currency=currency,
            read_at=read_at,
        )

    async def disable(self, account_id: str) -> None:
        await self.tx.execute(DISABLE, account_id=account_id)
