"""What the app stores charge for an account that is gone is taken back where they let us."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog.testing

from cookcam.features.billing.app_stores.reversals import AppleReversals, GoogleReversals
from cookcam.features.billing.ledger.reversals import ChargeReversals, ReversalStore
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from tests.features.conftest import ApiUser
from tests.support.app_stores import Mall, open_mall, show
from tests.support.stripe_billing import Notes

MONTHLY = "cookcam_pro_monthly"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys.make()


@pytest.fixture
async def mall(fresh_database_url: str, authority: Authority, keys: Keys) -> AsyncIterator[Mall]:
    async with open_mall(fresh_database_url, authority, keys) as opened:
        yield opened


def reversals_of(mall: Mall) -> tuple[ChargeReversals, Notes]:
    notes = Notes()
    providers = {
        "android": GoogleReversals(mall.container.purchases.google_play),
        "ios": AppleReversals(),
    }
    return ChargeReversals(ReversalStore(mall.database), providers, notes), notes


async def delete_account(mall: Mall, who: ApiUser) -> None:
    await mall.sql("delete from auth.users where id = %(id)s", id=who.id)
    await mall.sql("delete from users where id = %(id)s", id=who.id)


async def test_a_renewal_at_google_is_revoked_with_a_refund(mall: Mall):
    ann = await mall.person()
    bought = await mall.google.buy(MONTHLY)
    assert (await show(ann, bought)).status_code == 200
    reversals, notes = reversals_of(mall)
    await delete_account(mall, ann)
    await mall.google.cancel(bought)
    await mall.google.restart(bought)
    assert await reversals.sweep() == 0, "nothing was charged"
    await mall.google.renew(bought)
    assert await reversals.sweep() == 1
    assert bought.state == "EXPIRED"
    assert mall.google.orders[bought.newest_order].state == "REFUNDED"
    assert notes.reversed == [("closed_account", "refunded")]
    assert len(notes.reported) == 1


async def test_a_purchase_for_an_account_that_was_named_and_is_gone_is_revoked(mall: Mall):
    ann = await mall.person()
    await delete_account(mall, ann)
    reversals, _ = reversals_of(mall)
    bought = await mall.google.buy(MONTHLY, account_token=ann.id)
    assert await reversals.sweep() == 1
    assert bought.state == "EXPIRED"


async def test_a_purchase_that_nobody_has_shown_yet_is_left_alone(mall: Mall):
    reversals, _ = reversals_of(mall)
    bought = await mall.google.buy(MONTHLY)
    await mall.apple.buy("com.cookcam.pro.monthly")
    assert await reversals.sweep() == 0
    assert bought.state == "ACTIVE"


async def test_a_renewal_at_apple_is_reported(mall: Mall):
    ann = await mall.person()
    bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
    assert (await show(ann, bought)).status_code == 200
    reversals, notes = reversals_of(mall)
    await delete_account(mall, ann)
    with structlog.testing.capture_logs() as logs:
        await mall.apple.renew(bought)
        assert await reversals.sweep() == 1
    assert notes.reversed == [("closed_account", "not_possible")]
    assert "closed account was charged" in [line["event"] for line in logs]
