"""Creators over HTTP: links, revenue, and accounts at Stripe, as clients see them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any
from uuid import uuid4

import pytest
import trio

from cookcam.config.readers import Secret
from cookcam.features.creators.links.service import Visitors
from cookcam.features.creators.revenue.responses import masked
from cookcam.features.operations.retention.service import Retention
from cookcam.features.operations.retention.store import SweepStore
from cookcam.sandbox.stripe import Fault
from tests.features.conftest import ApiUser
from tests.support.creators import (
    API,
    CREATOR,
    SITE,
    STRIPE,
    TRACK,
    CreatorsServer,
    open_creators_server,
)

TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LINK_KEYS = {
    "id",
    "creator_id",
    "link_code",
    "custom_slug",
    "campaign_name",
    "is_active",
    "click_count",
    "conversion_count",
    "created_at",
}
REVENUE_KEYS = {
    "id",
    "creator_id",
    "month",
    "year",
    "affiliate_earnings",
    "tips_earnings",
    "collections_earnings",
    "total_earnings",
    "active_referrals",
    "new_referrals",
    "lost_referrals",
    "payout_status",
    "created_at",
    "updated_at",
}


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[CreatorsServer]:
    async with open_creators_server(database_url) as opened:
        yield opened


@pytest.fixture
async def cid(server: CreatorsServer) -> ApiUser:
    return await server.creator()


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class TestGates:
    ROUTES = (
        ("POST", "/subscription/affiliate/generate"),
        ("GET", "/subscription/affiliate/links"),
        ("GET", f"{CREATOR}/revenue"),
        ("GET", f"{CREATOR}/analytics"),
        ("GET", f"{CREATOR}/earnings/breakdown"),
        ("GET", f"{CREATOR}/balance"),
        ("GET", f"{CREATOR}/payouts/history"),
        ("POST", f"{CREATOR}/payout"),
        ("POST", f"{STRIPE}/onboard"),
        ("GET", f"{STRIPE}/status"),
        ("GET", f"{STRIPE}/dashboard"),
        ("POST", f"{STRIPE}/account-link"),
        ("POST", f"{STRIPE}/refresh-status"),
    )

    async def test_creators_only(self, server: CreatorsServer):
        ann = await server.person()
        for method, path in self.ROUTES:
            response = await server.guest.request(method, path)
            assert response.status_code == 401, path
            assert response.json()["error"] == "Authentication required"
            response = await ann.request(method, path)
            assert response.status_code == 403, path
            body = response.json()
            assert body["error"] == "Creator access required"
            assert body["message"] == "Upgrade to Creator tier to access this feature"
            assert body["upgradeUrl"] == "/subscription/upgrade?tier=creator"


class TestLinks:
    async def test_generate_and_list(self, cid: ApiUser):
        response = await cid.post("/subscription/affiliate/generate")
        assert response.status_code == 200
        body = response.json()
        link = body["affiliateLink"]
        assert set(link) == LINK_KEYS | {"fullUrl", "full_url"}
        assert re.fullmatch(r"CC_[A-Z0-9]{8}", link["link_code"])
        assert (link["campaign_name"], link["custom_slug"]) == ("Default Campaign", None)
        assert (link["is_active"], link["click_count"], link["conversion_count"]) == (True, 0, 0)
        url = f"{SITE}/ref/{link['link_code']}"
        assert link["fullUrl"] == link["full_url"] == body["full_url"] == url
        assert TS.fullmatch(link["created_at"])

        slug = f"soup-{uuid4().hex[:8]}"
        response = await cid.post(
            "/subscription/affiliate/generate", {"campaign_name": "Spring", "custom_slug": slug}
        )
        assert response.json()["full_url"] == f"{SITE}/c/{slug}"
        response = await cid.get("/subscription/affiliate/links")
        body = response.json()
        assert body["success"] is True
        assert [entry["campaign_name"] for entry in body["links"]] == ["Spring", "Default Campaign"]
        assert body["links"][1] == link

    async def test_taken_slug_is_a_409_and_invalid_slug_a_400(self, cid: ApiUser):
        path, slug = "/subscription/affiliate/generate", f"s-{uuid4().hex[:8]}"
        assert (await cid.post(path, {"customSlug": slug})).status_code == 200
        response = await cid.post(path, {"customSlug": slug})
        assert (response.status_code, response.json()["error"]) == (
            409,
            "Custom slug already exists",
        )
        for wrong in ("ab", "Soup", "a b c", "x" * 41, "über-suppe"):
            assert (await cid.post(path, {"customSlug": wrong})).status_code == 400, wrong
        assert (await cid.post(path, {"campaignName": "x" * 101})).status_code == 400

    async def test_tracking_every_form_of_a_code_from_the_website(
        self, server: CreatorsServer, cid: ApiUser
    ):
        slug = f"soup-{uuid4().hex[:8]}"
        response = await cid.post("/subscription/affiliate/generate", {"customSlug": slug})
        link = response.json()["affiliateLink"]
        chef = f"CHEF_{cid.id[-8:].upper()}"
        for code in (link["link_code"], slug, f"creator-{slug}", chef, "CC_NOBODY00", "no such!"):
            preflight = await server.http.request(
                "OPTIONS",
                f"/api/v1{TRACK}{code}",
                headers={
                    "Origin": SITE,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "content-type",
                },
            )
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == SITE
            assert "content-type" in preflight.headers["access-control-allow-headers"]
            response = await server.guest.post(
                f"{TRACK}{code}",
                {"source": "web_landing", "user_agent": "x", "referrer": "y", "timestamp": 1},
                headers={"Origin": SITE},
            )
            assert response.status_code == 200
            assert response.json() == {"success": True, "message": "Click tracked"}
            assert response.headers["access-control-allow-origin"] == SITE
        clicks = {
            entry["link_code"]: entry["click_count"]
            for entry in (await cid.get("/subscription/affiliate/links")).json()["links"]
        }
        assert clicks == {link["link_code"]: 1, chef: 1}

    async def test_clicks_count_once_per_visitor_and_never_for_unknown_codes(
        self, server: CreatorsServer, cid: ApiUser
    ):
        link = (await cid.post("/subscription/affiliate/generate")).json()["affiliateLink"]
        before = await server.sql("select count(*) from affiliate_link_clicks")
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(server.guest.post, f"{TRACK}{link['link_code']}")
        await server.guest.post(f"{TRACK}CC_UNKNOWN0", {"source": "web_landing"})
        after = await server.sql("select count(*) from affiliate_link_clicks")
        assert after[0][0] - before[0][0] == 1
        rows = await server.sql(
            """select ip_hash, click_count from affiliate_link_clicks c
            join creator_affiliate_links l on l.id = c.link_id where l.id = %(id)s""",
            id=link["id"],
        )
        assert [(len(visitor), count) for visitor, count in rows] == [(64, 1)]

    def test_no_address_is_stored_and_days_cannot_be_linked(self):
        visitors, noon = Visitors(Secret("key")), datetime(2026, 5, 1, 12, tzinfo=UTC)
        known = visitors.hash("192.0.2.1", noon)
        assert known == visitors.hash("192.0.2.1", noon + timedelta(hours=11))
        others = {
            visitors.hash("192.0.2.1", noon + timedelta(days=1)),
            visitors.hash("192.0.2.2", noon),
            Visitors(Secret("other")).hash("192.0.2.1", noon),
        }
        assert known not in others
        assert len(others) == 3

    async def test_visitor_hash_is_deleted_after_30_days_and_click_after_400(
        self, server: CreatorsServer, cid: ApiUser
    ):
        link = (await cid.post("/subscription/affiliate/generate")).json()["affiliateLink"]
        await server.sql(
            """insert into affiliate_link_clicks (link_id, ip_hash, hour_bucket, clicked_at)
            select %(id)s, 'h' || days, now(), now() - make_interval(days => days)
            from unnest(array[29, 31, 399, 401]) as days""",
            id=link["id"],
        )
        await Retention(SweepStore(server.database), lambda: datetime.now(UTC)).sweep()
        left = await server.sql(
            "select ip_hash from affiliate_link_clicks where link_id = %(id)s order by clicked_at",
            id=link["id"],
        )
        assert left == [(None,), (None,), ("h29",)]


class TestRevenue:
    async def test_an_empty_account_has_every_object_and_numbers(self, cid: ApiUser):
        body = (await cid.get(f"{CREATOR}/analytics?period=month")).json()
        assert body["success"] is True
        assert set(body["analytics"]) == {
            "revenue",
            "affiliateLinks",
            "referrals",
            "recipes",
            "recentTips",
            "lastUpdated",
        }
        assert set(body["analytics"]["revenue"]) == REVENUE_KEYS
        assert body["referrals"] == {"total": 0, "active": 0, "data": []}
        assert body["recipes"] == body["recentTips"] == []
        assert body["stripeAccount"] == {
            "isConnected": False,
            "canReceivePayouts": False,
            "accountId": None,
        }
        assert set(body["revenue"]) == {
            "total_earnings",
            "affiliate_earnings",
            "tips_earnings",
            "collections_earnings",
            "active_referrals",
        }
        assert all(is_number(value) and value == 0 for value in body["revenue"].values())

        body = (await cid.get(f"{CREATOR}/revenue")).json()
        for name in (
            "total_earnings",
            "monthly_earnings",
            "affiliate_earnings",
            "tips_earnings",
            "collections_earnings",
            "unpaid_balance",
            "active_referrals",
        ):
            assert is_number(body[name]), name
        assert body["revenue_breakdown"] == {
            "referrals_rate": 30,
            "tips_rate": 100,
            "collections_rate": 70,
        }
        assert set(body["revenue"]) == REVENUE_KEYS
        assert body["revenue"]["payout_status"] == "pending"

        body = (await cid.get(f"{CREATOR}/earnings/breakdown")).json()["breakdown"]
        assert body["revenue_sources"] == {
            "subscription_referrals": {"amount": 0, "count": 0, "rate": 0.3},
            "recipe_tips": {"amount": 0, "count": 0, "average": 0},
            "premium_collections": {"amount": 0, "count": 0, "rate": 0.7},
        }
        assert body["month"] == datetime.now(UTC).month

    async def test_month_is_the_sum_of_its_entries(self, server: CreatorsServer, cid: ApiUser):
        for kind, cents in (("commission", 120), ("tip", 500), ("tip", 250), ("collection", 70)):
            await server.sql(
                """insert into creator_ledger (creator_id, kind, amount_cents, source_ref, tip_id,
                  occurred_at)
                values (%(id)s, %(kind)s, %(cents)s, %(ref)s, null, '2026-02-28T23:59:59Z')""",
                id=cid.id,
                kind=kind,
                cents=cents,
                ref=uuid4().hex,
            )
        february = (await cid.get(f"{CREATOR}/revenue?month=2&year=2026")).json()
        assert february["revenue"]["total_earnings"] == february["monthly_earnings"] == 9.4
        assert february["total_earnings"] == 9.4
        assert (february["affiliate_earnings"], february["tips_earnings"]) == (1.2, 7.5)
        march = (await cid.get(f"{CREATOR}/revenue?month=3&year=2026")).json()
        assert (march["monthly_earnings"], march["total_earnings"]) == (0, 9.4)
        sources = (await cid.get(f"{CREATOR}/earnings/breakdown?month=2&year=2026")).json()
        sources = sources["breakdown"]["revenue_sources"]
        assert sources["recipe_tips"] == {"amount": 7.5, "count": 2, "average": 3.75}
        assert sources["premium_collections"] == {"amount": 0.7, "count": 1, "rate": 0.7}

    async def test_invalid_months_are_rejected(self, cid: ApiUser):
        for query in ("month=13", "month=0", "month=x", "year=1", "year=99999", "month=1&month=2"):
            for path in ("revenue", "earnings/breakdown"):
                response = await cid.get(f"{CREATOR}/{path}?{query}")
                assert response.status_code == 400, (path, query)
                if "&" not in query:
                    assert response.json()["error"] == "Invalid month or year"

    async def test_analytics_of_a_busy_creator(self, server: CreatorsServer, cid: ApiUser):
        ann = await server.person()
        recipe = await server.recipe(cid)
        link = (await cid.post("/subscription/affiliate/generate")).json()["affiliateLink"]
        await server.sql(
            """with s as (
              insert into user_subscriptions (user_id, tier_id, status, current_period_start,
                current_period_end, provider)
              values (%(ann)s, 2, 'active', now(), now() + interval '1 month', 'manual')
              returning id
            )
            insert into affiliate_conversions (
              link_id, creator_id, subscriber_id, subscription_id, tier_id
            )
            select %(link)s, %(cid)s, %(ann)s, id, 2 from s""",
            ann=ann.id,
            cid=cid.id,
            link=link["id"],
        )
        for anonymous in (False, True):
            intent = await server.tip(ann, recipe, 1, message="Thanks", isAnonymous=anonymous)
            server.stripe.confirm(intent["id"])
        await server.tip(ann, recipe, 2)  # never paid
        await server.deliver_all()
        body = (await cid.get(f"{CREATOR}/analytics")).json()
        (referral,) = body["referrals"]["data"]
        assert (body["referrals"]["total"], body["referrals"]["active"]) == (1, 1)
        assert body["analytics"]["referrals"] == body["referrals"]
        assert referral["subscription"]["status"] == "active"
        assert referral["subscription"]["tier_id"] == 2
        assert set(referral["subscriber"]) == {"id", "email", "created_at"}
        assert body["recipes"] == [
            {
                "id": recipe,
                "title": body["recipes"][0]["title"],
                "views_count": 0,
                "saves_count": 0,
                "completion_rate": 0,
            }
        ]
        tips = body["recentTips"]
        assert [(tip["amount"], tip["status"]) for tip in tips] == [(1, "completed")] * 2
        assert [tip["tipper_id"] for tip in tips] == [None, ann.id]
        assert set(body["analytics"]["affiliateLinks"][0]) == LINK_KEYS

    async def test_creator_sees_only_masked_addresses(self, server: CreatorsServer, cid: ApiUser):
        ann = await server.person()
        await server.sql(
            """insert into affiliate_conversions (creator_id, subscriber_id, tier_id)
            values (%(cid)s, %(ann)s, 2)""",
            cid=cid.id,
            ann=ann.id,
        )
        response = await cid.get(f"{CREATOR}/analytics")
        assert ann.email not in response.text
        (referral,) = response.json()["referrals"]["data"]
        assert referral["subscriber"]["email"] == f"a***@{ann.email.split('@')[1]}"
        assert masked(None) is None
        assert masked("nonsense") == masked("@x.example") == "***"


class TestConnect:
    async def test_onboarding_from_nothing_to_active(self, server: CreatorsServer, cid: ApiUser):
        response = await cid.get(f"{STRIPE}/status")
        assert response.json() == {"success": True, "hasAccount": False, "needsOnboarding": True}
        response = await cid.post(
            f"{STRIPE}/onboard",
            {"country": "US", "business_type": "individual", "platform": "ios"},
        )
        body = response.json()
        assert set(body) == {"success", "accountId", "onboardingUrl"}
        account = server.stripe.get("account", body["accountId"])
        assert account["metadata"] == {"creator_id": cid.id, "platform": "cookcam"}
        assert f"{SITE}/creator/dashboard".replace("/", "%2F").replace(":", "%3A") in str(
            body["onboardingUrl"]
        )

        state = (await cid.get(f"{STRIPE}/status")).json()
        assert (state["hasAccount"], state["needsOnboarding"]) == (True, True)
        assert state["account"] == {
            "status": "pending",
            "detailsSubmitted": False,
            "chargesEnabled": False,
            "payoutsEnabled": False,
            "country": "US",
            "currency": "usd",
            "stripe_account_id": body["accountId"],
        }
        requested = len(server.stripe.requests)
        for _ in range(20):
            assert (await cid.get(f"{STRIPE}/status")).status_code == 200
        assert len(server.stripe.requests) == requested

        server.stripe.onboard(body["accountId"], "restricted")
        await server.deliver_all("account.updated")
        state = (await cid.get(f"{STRIPE}/status")).json()
        assert (state["account"]["status"], state["needsOnboarding"]) == ("restricted", False)
        due = await server.sql(
            "select requirements_due from creator_stripe_accounts where creator_id = %(id)s",
            id=cid.id,
        )
        assert due == [(["individual.verification.document"],)]
        server.stripe.onboard(body["accountId"])
        await server.deliver_all("account.updated")
        assert (await cid.get(f"{STRIPE}/status")).json()["account"]["status"] == "active"
        analytics = (await cid.get(f"{CREATOR}/analytics")).json()["stripeAccount"]
        assert (analytics["isConnected"], analytics["canReceivePayouts"]) == (True, True)

    async def test_active_status_does_not_depend_on_charges(self, server: CreatorsServer):
        cid = await server.creator(account="active")
        account = (await cid.get(f"{STRIPE}/status")).json()["account"]
        assert (account["chargesEnabled"], account["status"]) == (False, "active")

    async def test_creator_has_one_stripe_account(self, server: CreatorsServer, cid: ApiUser):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(cid.post, f"{STRIPE}/onboard")
        # The row is lost: the next request finds the same account.
        await server.sql("delete from creator_stripe_accounts where creator_id = %(id)s", id=cid.id)
        again = (await cid.post(f"{STRIPE}/onboard")).json()
        mine = [
            account["id"]
            for account in server.stripe.objects("account")
            if account["metadata"]["creator_id"] == cid.id
        ]
        assert mine == [again["accountId"]]

    async def test_foreign_accounts_are_rejected(self, server: CreatorsServer, cid: ApiUser):
        other = await server.creator(account="active")
        foreign = (await other.get(f"{STRIPE}/status")).json()["account"]["stripe_account_id"]
        await cid.post(f"{STRIPE}/onboard")
        back = {"return_url": SITE, "refresh_url": SITE}
        response = await cid.post(f"{STRIPE}/refresh-status", {"account_id": foreign})
        assert response.status_code == 403
        response = await cid.post(f"{STRIPE}/account-link", {"account_id": foreign, **back})
        assert response.status_code == 403

    async def test_only_urls_of_the_project_and_the_app_are_accepted(
        self, server: CreatorsServer, cid: ApiUser
    ):
        path = f"{STRIPE}/account-link"
        good = {
            "return_url": "cookcam://creator-kyc-complete",
            "refresh_url": f"{SITE}/creator?x=1",
        }
        response = await cid.post(path, good)
        assert response.status_code == 404
        assert response.json()["error"] == "No Stripe account found. Please start onboarding first."
        await cid.post(f"{STRIPE}/onboard")
        response = await cid.post(path, good)
        body = response.json()
        assert response.status_code == 200, response.text
        assert "creator%2Fstripe%2Freturn%2Fcreator-kyc-complete" in body["url"]
        assert body["expires_at"] == (server.stripe.now + 300) * 1000
        response = await cid.post(path, {"return_url": SITE})
        assert response.status_code == 400
        assert response.json()["error"] == "Missing required parameters"
        assert response.json()["required"] == ["return_url", "refresh_url"]
        for url in (
            "https://evil.example/",
            "https://cookcam.ai.evil.example/",
            "https://cookcam.ai@evil.example/",
            "https://evil.example\\@cookcam.ai/",
            "//evil.example",
            "javascript:alert(1)",
            "cookcam://elsewhere",
            "cookcam://creator-kyc-complete/../x",
        ):
            response = await cid.post(path, {**good, "return_url": url})
            assert (response.status_code, response.json()["error"]) == (
                400,
                "Return URL not allowed",
            )

    async def test_return_page_redirects_into_the_app(self, server: CreatorsServer):
        for page in (
            "creator-kyc-complete",
            "creator-kyc-refresh",
            "creator-onboarding-complete",
            "creator-onboarding-refresh",
        ):
            response = await server.guest.get(f"{STRIPE}/return/{page}")
            assert response.status_code == 302
            assert response.headers["location"] == f"cookcam://{page}"
            assert f'href="cookcam://{page}"' in response.text
        assert (await server.guest.get(f"{STRIPE}/return/elsewhere")).status_code == 404
        assert API.startswith("https://")

    async def test_dashboard_and_refresh(self, server: CreatorsServer, cid: ApiUser):
        response = await cid.get(f"{STRIPE}/dashboard")
        assert (response.status_code, response.json()["error"]) == (404, "Stripe account not found")
        response = await cid.post(f"{STRIPE}/refresh-status")
        assert (response.status_code, response.json()["error"]) == (404, "No Stripe account found")
        account = (await cid.post(f"{STRIPE}/onboard")).json()["accountId"]
        assert (await cid.get(f"{STRIPE}/dashboard")).status_code == 409
        server.stripe.onboard(account)  # and its event is lost
        response = await cid.post(f"{STRIPE}/refresh-status", {"account_id": account})
        assert response.json() == {"success": True, "message": "Account status refreshed"}
        assert (await cid.get(f"{STRIPE}/status")).json()["account"]["status"] == "active"
        response = await cid.get(f"{STRIPE}/dashboard")
        assert response.json()["dashboardUrl"].endswith(f"/express/{account}")

    async def test_failed_refresh_is_an_error(self, server: CreatorsServer, cid: ApiUser):
        await cid.post(f"{STRIPE}/onboard")
        server.stripe.behaviour.fault = Fault("status", status=400, path="/v1/accounts")
        response = await cid.post(f"{STRIPE}/refresh-status")
        assert response.status_code == 502
        assert response.json()["error"] == "Failed to refresh account status"

    async def test_rejection_by_stripe_is_an_error(self, cid: ApiUser):
        response = await cid.post(f"{STRIPE}/onboard", {"country": "ZZ"})
        assert response.status_code == 502
        assert response.json()["error"] == "Failed to create Stripe account"
        assert (await cid.post(f"{STRIPE}/onboard", {"country": "USA"})).status_code == 400
        assert (await cid.get(f"{STRIPE}/status")).json()["hasAccount"] is False

    async def test_account_that_revoked_access_is_replaced(self, server: CreatorsServer):
        cid = await server.creator(account="active")
        account = (await cid.get(f"{STRIPE}/status")).json()["account"]["stripe_account_id"]
        server.stripe.onboard(account)
        server.stripe.deauthorize(account)
        await server.deliver_all()
        state = (await cid.get(f"{STRIPE}/status")).json()
        assert state["account"]["status"] == "disabled"
        again = (await cid.post(f"{STRIPE}/onboard")).json()
        assert again["accountId"] != account
        state = (await cid.get(f"{STRIPE}/status")).json()
        assert (state["account"]["status"], state["needsOnboarding"]) == ("pending", True)
