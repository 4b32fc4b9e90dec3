"""What creators get of purchases in the stores: once for each period, and back with its money."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
import trio
from attrs import frozen
from structlog.testing import capture_logs

from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from tests.features.conftest import ApiUser
from tests.identity.project import new_user
from tests.support.app_stores import StoresApp, assert_has, open_stores_app, show

MONTH, CREATOR_MONTH = "com.cookcam.pro.monthly", "com.cookcam.creator.monthly"
PLAY_MONTH, PLAY_CREATOR_MONTH = "cookcam_pro_monthly", "cookcam_creator_monthly"

REGULAR = 102
"""30% of 3.39, which is 3.99 less 15%."""
CREATOR = 255
"""30% of 8.49, which is 9.99 less 15%."""


@frozen
class Creator:
    stores_app: StoresApp
    id: str

    async def brings(self, name: str = "Ann") -> ApiUser:
        person = await self.stores_app.person(name)
        commissions = self.stores_app.container.purchases.grants.commissions
        await commissions.attribute(UUID(person.id), f"CHEF_{self.id[-8:].upper()}")
        return person

    async def ledger(self) -> list[tuple[str, int]]:
        return await self.stores_app.sql(
            "select kind, amount_cents from creator_ledger where creator_id = %(id)s order by id",
            id=self.id,
        )

    async def earned(self) -> int:
        """The sum of the ledger, which has its counter side in the journal."""
        assert await self.stores_app.sql(
            "select coalesce(sum(j.amount_cents), 0) from creator_journal j"
            " join creator_ledger l on l.id = j.ledger_id where l.creator_id = %(id)s",
            id=self.id,
        ) == [(0,)]
        return sum(cents for _, cents in await self.ledger())

    async def conversions(self) -> list[tuple[bool]]:
        return await self.stores_app.sql(
            "select is_active from affiliate_conversions where creator_id = %(id)s", id=self.id
        )


@pytest.fixture
async def cid(stores_app: StoresApp) -> Creator:
    cid = await stores_app.person("Cid")
    await stores_app.sql("update users set is_creator = true where id = %(id)s", id=cid.id)
    return Creator(stores_app, cid.id)


@pytest.fixture
async def ann(cid: Creator) -> ApiUser:
    return await cid.brings()


class TestApple:
    async def test_every_paid_period_brings_its_share_and_a_refund_takes_it(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.apple.buy(MONTH, account_token=ann.id, trial=True)
        await assert_has(ann, "regular")
        assert (await cid.ledger(), await cid.conversions()) == ([], [])  # a trial is free
        await stores_app.apple.renew(bought)
        assert await cid.ledger() == [("commission", REGULAR)]
        assert await cid.conversions() == [(True,)]
        await stores_app.apple.fail_payment(bought)
        await stores_app.apple.end_grace(bought)
        assert await cid.earned() == REGULAR
        await stores_app.apple.renew(bought)
        assert await cid.earned() == 2 * REGULAR
        await stores_app.apple.upgrade(bought, CREATOR_MONTH)
        await stores_app.apple.set_renewal(bought, renews=False)
        assert (await show(ann, bought)).status_code == 200  # the same period, shown by the app
        assert await cid.ledger() == [("commission", REGULAR)] * 2 + [("commission", CREATOR)]
        await stores_app.apple.refund(bought)
        assert (await cid.ledger())[-1] == ("refund", -CREATOR)
        assert await cid.conversions() == [(False,)]
        await assert_has(ann, "free")
        refs = await stores_app.sql(
            "select source_ref from creator_ledger where creator_id = %(id)s and kind <> 'refund'"
            " order by id",
            id=cid.id,
        )
        assert [ref for (ref,) in refs] == [f"apple:{one.id}" for one in bought.transactions[1:]]

    @pytest.mark.parametrize("seed", range(4))
    async def test_order_and_repetition_of_what_is_reported_make_no_difference(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser, seed: int
    ):
        bought = await stores_app.apple.buy(MONTH, account_token=ann.id)
        endpoint, stores_app.apple.endpoint = stores_app.apple.endpoint, None
        await stores_app.apple.renew(bought)
        await stores_app.apple.refund(bought, periods_ago=1)
        await stores_app.apple.fail_payment(bought)
        await stores_app.apple.renew(bought)
        await stores_app.apple.renew(bought)
        await stores_app.apple.refund(bought)
        stores_app.apple.endpoint = endpoint
        late = stores_app.apple.notifications[1:] * 2
        random.Random(seed).shuffle(late)
        for signed in late:
            assert await stores_app.apple.deliver(signed) == 200
        # Four periods were paid, and two given back.
        assert await cid.earned() == 2 * REGULAR
        kinds = [kind for kind, _ in await cid.ledger()]
        assert (kinds.count("commission"), kinds.count("refund")) == (4, 2)

    async def test_many_tell_of_one_period_at_once(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.apple.buy(MONTH, account_token=ann.id)
        received = [stores_app.apple.signed_notification(bought, "SUBSCRIBED") for _ in range(4)]
        stores_app.apple.endpoint = "http://cookcam.test/api/v1/subscription/webhook/apple"
        async with trio.open_nursery() as nursery:
            for signed in received:
                nursery.start_soon(stores_app.apple.deliver, signed)
                nursery.start_soon(show, ann, bought)
        assert await cid.ledger() == [("commission", REGULAR)]

    async def test_money_back_for_an_older_period_takes_that_share_and_no_access(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.apple.buy(MONTH, account_token=ann.id)
        await stores_app.apple.renew(bought)
        await stores_app.apple.refund(bought, periods_ago=1)
        await assert_has(ann, "regular")
        assert await cid.ledger() == [("commission", REGULAR)] * 2 + [("refund", -REGULAR)]
        assert await cid.conversions() == [(True,)]

    async def test_money_back_for_what_was_upgraded_takes_that_share_and_no_access(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.yearly", account_token=ann.id)
        await stores_app.apple.upgrade(bought, CREATOR_MONTH)
        await stores_app.apple.refund(bought, periods_ago=1)
        await assert_has(ann, "creator")
        assert await cid.ledger() == [
            ("commission", 1020),
            ("commission", CREATOR),
            ("refund", -1020),
        ]

    async def test_a_part_that_went_back_and_was_taken_again(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.apple.buy(MONTH, account_token=ann.id)
        await stores_app.apple.refund(bought, percent=50)
        assert await cid.ledger() == [("commission", REGULAR), ("refund", -REGULAR // 2)]
        await stores_app.apple.reverse_refund(bought)
        assert await cid.earned() == REGULAR
        await assert_has(ann, "regular")

    async def test_what_brings_nothing(self, stores_app: StoresApp, cid: Creator, ann: ApiUser):
        """No referral, a family member's payment, a free period, and a test purchase."""
        await stores_app.apple.buy(MONTH, account_token=(await stores_app.person("Bob")).id)
        await stores_app.apple.buy(MONTH, account_token=ann.id, shared=True)
        await stores_app.apple.buy(MONTH, account_token=ann.id, price_cents=0)
        await stores_app.apple.buy(MONTH, account_token=ann.id, where="Sandbox")
        assert stores_app.apple.statuses == [200] * 4
        assert await cid.ledger() == []

    async def test_another_currency_is_logged_where_a_share_is_due_and_not_booked(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bob = await stores_app.person("Bob")
        with capture_logs() as logs:
            bought = await stores_app.apple.buy(MONTH, account_token=ann.id, currency="EUR")
            await stores_app.apple.buy(MONTH, account_token=bob.id, currency="EUR")
        wrong = [line["ref"] for line in logs if line["log_level"] == "error"]
        assert wrong == [f"apple:{bought.id}"]
        assert (await cid.ledger(), await cid.conversions()) == ([], [(True,)])
        await assert_has(ann, "regular")

    async def test_receipt_without_a_price_uses_the_price_of_the_catalogue(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        endpoint = stores_app.apple.endpoint
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.pro.yearly")
        assert (await show(ann, bought)).status_code == 200
        assert await cid.ledger() == [("commission", 1020)]  # of 39.99 less 15%: 33.99
        stores_app.apple.endpoint = endpoint
        await stores_app.apple.set_renewal(
            bought, renews=False
        )  # tells the price of the same period
        assert await cid.ledger() == [("commission", 1020)]

    async def test_a_refund_of_an_account_that_was_deleted(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.apple.buy(MONTH, account_token=ann.id)
        await stores_app.sql("delete from auth.users where id = %(id)s", id=ann.id)
        await stores_app.apple.refund(bought)
        assert stores_app.apple.statuses == [200, 200]
        assert await cid.ledger() == [("commission", REGULAR), ("refund", -REGULAR)]

    async def test_the_share_and_the_access_are_written_together_or_not_at_all(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        await stores_app.sql("revoke insert on creator_ledger from service_role")
        try:
            bought = await stores_app.apple.buy(MONTH, account_token=ann.id)
            assert stores_app.apple.statuses != [200]
            await assert_has(ann, "free")
        finally:
            await stores_app.sql("grant insert on creator_ledger to service_role")
        assert await stores_app.apple.deliver(stores_app.apple.notifications[-1]) == 200
        await assert_has(ann, "regular")
        assert await cid.ledger() == [("commission", REGULAR)]
        assert bought.status == 1

    async def test_the_fee_is_a_setting(self, database_url: str, authority: Authority, keys: Keys):
        async with open_stores_app(
            database_url, authority, keys, APPLE_FEE_PERCENT="30"
        ) as stores_app:
            person = await new_user(stores_app.gotrue, "Cid")
            await stores_app.sql(
                "update users set is_creator = true where id = %(id)s", id=person.id
            )
            cid = Creator(stores_app, str(person.id))
            await stores_app.apple.buy(MONTH, account_token=(await cid.brings()).id)
            assert await cid.ledger() == [("commission", 84)]  # of 2.79


class TestGoogle:
    async def test_every_paid_order_brings_its_share_and_a_refund_takes_it(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.google.buy(PLAY_MONTH, account_token=ann.id, trial=True)
        await assert_has(ann, "regular")
        assert await cid.ledger() == []
        await stores_app.google.renew(bought)
        assert await cid.ledger() == [("commission", REGULAR)]
        await stores_app.google.fail_payment(bought)
        await stores_app.google.hold(bought)
        assert await cid.earned() == REGULAR
        await stores_app.google.renew(bought)
        for envelope in stores_app.google.envelopes * 2:
            assert await stores_app.google.deliver(envelope) == 204
        assert (await show(ann, bought)).status_code == 200
        assert await cid.ledger() == [("commission", REGULAR)] * 2
        better = await stores_app.google.buy(PLAY_CREATOR_MONTH, instead_of=bought)
        await assert_has(ann, "creator")
        assert (await cid.ledger())[2:] == [("commission", CREATOR)]
        await stores_app.google.revoke(better)
        assert (await cid.ledger())[3:] == [("refund", -CREATOR)]
        assert await cid.earned() == 2 * REGULAR
        assert (True,) not in await cid.conversions()
        refs = await stores_app.sql(
            "select source_ref from creator_ledger where creator_id = %(id)s and kind <> 'refund'"
            " order by id",
            id=cid.id,
        )
        assert [ref for (ref,) in refs] == [
            f"google:{bought.order_id}..0",
            f"google:{bought.order_id}..1",
            f"google:{better.order_id}",
        ]

    async def test_what_google_says_is_ours_counts(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.google.buy(PLAY_MONTH)
        stores_app.google.orders[bought.newest_order].fee_percent = 30
        assert (await show(ann, bought)).status_code == 200
        assert await cid.ledger() == [("commission", 84)]

    @pytest.mark.parametrize("failure", [403, 404, 500])
    async def test_without_the_order_the_recurring_price_counts_and_entitles_as_well(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser, failure: int
    ):
        stores_app.google.behaviour.order_failure = failure
        bought = await stores_app.google.buy(PLAY_MONTH, account_token=ann.id, trial=True)
        await stores_app.google.fail_payment(bought)  # the newest order is that of the free trial
        assert await cid.ledger() == []
        await stores_app.google.renew(bought)
        await assert_has(ann, "regular")
        assert await cid.ledger() == [("commission", REGULAR)]
        await stores_app.google.revoke(bought)
        assert await cid.ledger() == [("commission", REGULAR), ("refund", -REGULAR)]
        stores_app.google.behaviour.order_failure = None  # and now it tells the same
        await stores_app.google.notify(bought, 13)
        assert await cid.earned() == 0

    async def test_money_back_for_an_older_order_takes_that_share_alone(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.google.buy(PLAY_MONTH, account_token=ann.id)
        await stores_app.google.renew(bought)
        await stores_app.google.void(bought, order_id=bought.order_id)
        await assert_has(ann, "regular")
        assert await cid.ledger() == [("commission", REGULAR)] * 2 + [("refund", -REGULAR)]
        # Sixty days after its end Google knows the purchase no longer, but its orders.
        bought.gone = True
        await stores_app.google.void(bought)
        assert await cid.earned() == 0
        assert stores_app.google.statuses == [204] * 4

    async def test_the_part_of_a_period_that_is_given_back(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        bought = await stores_app.google.buy(PLAY_MONTH, account_token=ann.id)
        await stores_app.google.revoke(bought, percent=50)
        assert await cid.ledger() == [("commission", REGULAR), ("refund", -REGULAR // 2)]

    async def test_an_order_that_was_never_charged_and_one_in_another_currency(
        self, stores_app: StoresApp, cid: Creator, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.google.buy(PLAY_MONTH)
        stores_app.google.orders[bought.newest_order].state = "CANCELED"
        assert (await show(ann, bought)).status_code == 200
        foreign = await stores_app.google.buy(PLAY_MONTH)
        stores_app.google.orders[foreign.newest_order].currency = "EUR"
        assert (await show(ann, foreign)).status_code == 200
        await stores_app.google.buy(PLAY_MONTH, account_token=ann.id, test=True)
        assert await cid.ledger() == []
