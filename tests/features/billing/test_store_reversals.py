"""What the app stores charge for an account that is gone is taken back where they let us."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog.testing

from cookcam.features.billing.ledger.reversals import (
    AppleReversals,
    ChargeReversals,
    GoogleReversals,
    ReversalStore,
)
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from tests.features.conftest import ApiUser
from tests.support.app_stores import StoresApp, open_stores_app, show
from tests.support.stripe_billing import Notes

MONTHLY = "cookcam_pro_monthly"


@pytest.fixture
async def stores_app(
    fresh_database_url: str, authority: Authority, keys: Keys
) -> AsyncIterator[StoresApp]:
    async with open_stores_app(fresh_database_url, authority, keys) as opened:
        yield opened


def reversals_of(stores_app: StoresApp) -> tuple[ChargeReversals, Notes]:
    notes = Notes()
    providers = {
        "android": GoogleReversals(stores_app.container.purchases.google_play),
        "ios": AppleReversals(),
    }
    return ChargeReversals(ReversalStore(stores_app.database), providers, notes), notes


async def delete_account(stores_app: StoresApp, who: ApiUser) -> None:
    await stores_app.sql("delete from auth.users where id = %(id)s", id=who.id)
    await stores_app.sql("delete from users where id = %(id)s", id=who.id)


async def test_a_renewal_at_google_is_revoked_with_a_refund(stores_app: StoresApp):
    ann = await stores_app.person()
    bought = await stores_app.google.buy(MONTHLY)
    assert (await show(ann, bought)).status_code == 200
    reversals, notes = reversals_of(stores_app)
    await delete_account(stores_app, ann)
    await stores_app.google.cancel(bought)
    await stores_app.google.restart(bought)
    assert await reversals.sweep() == 0, "nothing was charged"
    await stores_app.google.renew(bought)
    assert await reversals.sweep() == 1
    assert bought.state == "EXPIRED"
    assert stores_app.google.orders[bought.newest_order].state == "REFUNDED"
    assert notes.reversed == [("closed_account", "refunded")]
    assert len(notes.reported) == 1


async def test_purchase_naming_a_deleted_account_is_revoked(
    stores_app: StoresApp,
):
    ann = await stores_app.person()
    await delete_account(stores_app, ann)
    reversals, _ = reversals_of(stores_app)
    bought = await stores_app.google.buy(MONTHLY, account_token=ann.id)
    assert await reversals.sweep() == 1
    assert bought.state == "EXPIRED"


async def test_purchase_without_an_account_is_not_reversed(stores_app: StoresApp):
    reversals, _ = reversals_of(stores_app)
    bought = await stores_app.google.buy(MONTHLY)
    await stores_app.apple.buy("com.cookcam.pro.monthly")
    assert await reversals.sweep() == 0
    assert bought.state == "ACTIVE"


async def test_a_renewal_at_apple_is_reported(stores_app: StoresApp):
    ann = await stores_app.person()
    bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
    assert (await show(ann, bought)).status_code == 200
    reversals, notes = reversals_of(stores_app)
    await delete_account(stores_app, ann)
    with structlog.testing.capture_logs() as logs:
        await stores_app.apple.renew(bought)
        assert await reversals.sweep() == 1
    assert notes.reversed == [("closed_account", "not_possible")]
    assert "closed account was charged" in [line["event"] for line in logs]
