"""Row-level security of subscriptions, tips, payouts and the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString
from uuid import UUID

import pytest

from cookcam.database import ANONYMOUS, SERVICE, Database
from cookcam.database.actors import Actor
from cookcam.errors import AppError, InsufficientPermissions
from tests.database.test_row_level_security import outcome
from tests.support.users import create_user, person

DENIED = InsufficientPermissions

World = Mapping[str, UUID]


@pytest.fixture
async def world(database: Database, database_url: str) -> World:
    """Ann subscribes and tips; Cid is a creator who referred Ann and has a payout."""
    ann, bob, cid = [await create_user(database_url, name=name) for name in ("Ann", "Bob", "Cid")]
    async with database.transaction() as tx:
        subscription = await tx.fetch_value(
            "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
            " current_period_end, provider, provider_subscription_id)"
            " values (%(ann)s, 2, 'active', now(), now() + interval '30 days', 'stripe', %(ref)s)"
            " returning id",
            ann=ann,
            ref=f"sub_{ann}",
        )
        await tx.execute(
            "insert into subscription_history (user_id, subscription_id, action, to_tier_id)"
            " values (%(ann)s, %(subscription)s, 'created', 2)",
            ann=ann,
            subscription=subscription,
        )
        link = await tx.fetch_value(
            "insert into creator_affiliate_links (creator_id, link_code)"
            " values (%(cid)s, 'CC_' || upper(left(replace(%(cid)s::text, '-', ''), 8)))"
            " returning id",
            cid=cid,
        )
        await tx.execute(
            "insert into affiliate_link_clicks (link_id, ip_hash, hour_bucket)"
            " values (%(link)s, 'h', date_trunc('hour', now()))",
            link=link,
        )
        await tx.execute(
            "insert into referral_attributions (user_id, referrer_id, affiliate_link_id, link_code)"
            " values (%(ann)s, %(cid)s, %(link)s, 'CC_AAAAAAAA')",
            ann=ann,
            cid=cid,
            link=link,
        )
        await tx.execute(
            "insert into affiliate_conversions"
            " (link_id, creator_id, subscriber_id, subscription_id, tier_id)"
            " values (%(link)s, %(cid)s, %(ann)s, %(subscription)s, 2)",
            link=link,
            cid=cid,
            ann=ann,
            subscription=subscription,
        )
        await tx.execute(
            "insert into creator_tips (creator_id, tipper_id, amount_cents)"
            " values (%(cid)s, %(ann)s, 500)",
            cid=cid,
            ann=ann,
        )
        await tx.execute(
            "insert into creator_ledger (creator_id, kind, amount_cents, source_ref, occurred_at)"
            " values (%(cid)s, 'tip', 500, %(ref)s, now())",
            cid=cid,
            ref=f"tip:{ann}",
        )
        await tx.execute(
            "insert into creator_stripe_accounts (creator_id, stripe_account_id)"
            " values (%(cid)s, %(ref)s)",
            cid=cid,
            ref=f"acct_{cid}",
        )
        await tx.execute(
            "insert into creator_payouts (creator_id, amount_cents) values (%(cid)s, 1000)", cid=cid
        )
    return {"ann": ann, "bob": bob, "cid": cid, "link": link}


def actors(world: World) -> list[Actor]:
    return [person(world["ann"]), person(world["cid"]), person(world["bob"]), ANONYMOUS, SERVICE]


# statement, and its outcome for: the subscriber, the creator, another user, a guest, the server
CASES: list[tuple[LiteralString, *tuple[int | type[AppError], ...]]] = [
    ("select * from subscription_tiers", 3, 3, 3, 3, 3),
    ("update subscription_tiers set price_monthly_cents = 0", DENIED, DENIED, DENIED, DENIED, 3),
    ("select * from feature_access", 9, 9, 9, 9, 9),
    ("update feature_access set tier_requirements = '{1}'", DENIED, DENIED, DENIED, DENIED, 9),
    ("select * from user_subscriptions where user_id = %(ann)s", 1, 0, 0, DENIED, 1),
    ("update user_subscriptions set tier_id = 3 where user_id = %(ann)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("delete from user_subscriptions where user_id = %(ann)s", DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from subscription_history where user_id = %(ann)s", 1, 0, 0, DENIED, 1),
    ("insert into subscription_history (user_id, action) values (%(ann)s, 'created')",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from stripe_webhook_events where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from iap_receipt_bindings where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from iap_validation_history where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from iap_webhook_logs where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from reconciliation_metrics where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from reconciliation_health_view where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from reconciliation_alerts_view where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from iap_fraud_detection_view where false", DENIED, DENIED, DENIED, DENIED, 0),
    ("select * from creator_stripe_accounts where creator_id = %(cid)s", 0, 1, 0, DENIED, 1),
    ("update creator_stripe_accounts set payouts_enabled = true where creator_id = %(cid)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from creator_affiliate_links where creator_id = %(cid)s", 0, 1, 0, DENIED, 1),
    ("update creator_affiliate_links set conversions_count = 9 where creator_id = %(cid)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from affiliate_link_clicks where link_id = %(link)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from referral_attributions where user_id = %(ann)s", 1, 0, 0, DENIED, 1),
    ("insert into referral_attributions (user_id, referrer_id, link_code)"
     " values (%(bob)s, %(cid)s, 'x')", DENIED, DENIED, DENIED, DENIED, 1),
    ("select id, link_id, tier_id, converted_at, is_active from affiliate_conversions"
     " where creator_id = %(cid)s", 0, 1, 0, DENIED, 1),
    ("select subscriber_id from affiliate_conversions where creator_id = %(cid)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from creator_tips where creator_id = %(cid)s", 1, 0, 0, DENIED, 1),
    ("update creator_tips set status = 'completed' where creator_id = %(cid)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from creator_ledger where creator_id = %(cid)s", DENIED, DENIED, DENIED, DENIED, 1),
    ("select * from creator_payouts where creator_id = %(cid)s", 0, 1, 0, DENIED, 1),
    ("insert into creator_payouts (creator_id, amount_cents, status)"
     " values (%(cid)s, 1000, 'completed')", DENIED, DENIED, DENIED, DENIED, 1),
    ("update creator_payouts set amount_cents = 9999 where creator_id = %(cid)s",
     DENIED, DENIED, DENIED, DENIED, 1),
    ("select user_tier_id(%(ann)s)", DENIED, DENIED, DENIED, DENIED, 1),
    ("select request_creator_payout(%(cid)s, 1000, 'stripe', 'k')",
     DENIED, DENIED, DENIED, DENIED, AppError),
]  # fmt: skip


async def test_access_by_actor(database: Database, world: World) -> None:
    for statement, *expected in CASES:
        outcomes = [await outcome(database, actor, statement, **world) for actor in actors(world)]
        for got, wanted in zip(outcomes, expected, strict=True):
            if isinstance(wanted, type):
                assert isinstance(got, type), statement
                assert issubclass(got, wanted), statement
            else:
                assert got == wanted, statement


async def test_retired_feature_is_visible_to_the_server_only(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "update feature_access set is_active = false where feature_key = 'api_access'"
        )
    try:
        assert await outcome(database, ANONYMOUS, "select * from feature_access") == 8
        assert await outcome(database, SERVICE, "select * from feature_access") == 9
    finally:
        async with database.transaction() as tx:
            await tx.execute("update feature_access set is_active = true")
