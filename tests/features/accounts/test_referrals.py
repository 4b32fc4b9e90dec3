"""Referral codes in all their forms, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import trio

from cookcam.features.accounts.referrals.service import Referrals
from tests.features.conftest import ApiUser, Response, Server


@pytest.fixture
async def referrals(server: Server) -> Referrals:
    return server.container.referrals


@pytest.fixture
async def http(server: Server) -> httpx.AsyncClient:
    return server.http


@pytest.fixture
async def creator(server: Server) -> ApiUser:
    """A creator with a link, a slug and a share button."""
    person = await server.person("Chef")
    await server.sql("update users set is_creator = true where id = %(id)s", id=person.id)
    return person


async def link_of(server: Server, creator: ApiUser, **columns: Any) -> str:
    code = "CC_" + uuid4().hex[:8].upper()
    values = {"creator_id": creator.id, "link_code": code, **columns}
    await server.sql(
        f"insert into creator_affiliate_links ({', '.join(values)})"
        f" values ({', '.join(f'%({name})s' for name in values)})",
        **values,
    )
    return code


def chef_code(creator: ApiUser) -> str:
    return f"CHEF_{creator.id[-8:].upper()}"


async def link(http: httpx.AsyncClient, person: ApiUser, code: Any) -> Response:
    return await ApiUser(http, person.token, person.user).post(
        "/auth/link-referral", {"referralCode": code}
    )


async def attribution(server: Server, person: ApiUser) -> Any:
    rows = await server.sql(
        "select referrer_id::text, link_code, affiliate_link_id is not null"
        " from referral_attributions where user_id = %(id)s",
        id=person.id,
    )
    return rows[0] if rows else None


async def test_all_four_code_forms_resolve_to_the_creator(
    server: Server, creator: ApiUser, referrals: Referrals
):
    slug = f"chef-{uuid4().hex[:8]}"
    code = await link_of(server, creator, custom_slug=slug)
    for form in (code, code.lower(), slug, slug.upper(), f"creator-{slug}", chef_code(creator)):
        found = await referrals.resolve(form)
        assert found is not None, form
        assert found.creator_id == UUID(creator.id)
    assert (await referrals.resolve(chef_code(creator))).link_code == chef_code(creator)  # type: ignore[union-attr]
    made = await server.sql(
        "select count(*) from creator_affiliate_links where creator_id = %(id)s", id=creator.id
    )
    assert made == [(2,)]  # the default link is made once


async def test_unknown_inactive_and_ambiguous_codes_do_not_resolve(
    server: Server, creator: ApiUser, referrals: Referrals, ann: ApiUser
):
    off = await link_of(server, creator, is_active=False, custom_slug=f"off-{uuid4().hex[:8]}")
    for form in (
        off,
        "CC_00000000",
        "CC_",
        "CHEF_00000000",
        chef_code(ann),
        "no-such-slug",
        "",
        "%",
    ):
        assert await referrals.resolve(form) is None, form
    for form in ("x" * 5000, "creator-", "a b", "CHEF_" + "é" * 8):
        assert await referrals.resolve(form) is None
    twin = str(uuid4())[:-8] + creator.id[-8:]
    await server.sql(
        "insert into auth.users (id, email) values (%(id)s, %(email)s)",
        id=twin,
        email=f"{twin}@example.com",
    )
    assert await referrals.resolve(chef_code(creator)) is not None
    await server.sql("update users set is_creator = true where id = %(id)s", id=twin)
    assert await referrals.resolve(chef_code(creator)) is None


async def test_slug_with_the_website_prefix_is_matched_first(
    server: Server, creator: ApiUser, referrals: Referrals
):
    slug = uuid4().hex[:8]
    other = await server.person("Other")
    await link_of(server, creator, custom_slug=slug)
    await link_of(server, other, custom_slug=f"creator-{slug}")
    found = await referrals.resolve(f"creator-{slug}")
    assert found is not None
    assert found.creator_id == UUID(other.id)


async def test_the_first_referral_counts(
    server: Server, http: httpx.AsyncClient, creator: ApiUser, ann: ApiUser
):
    code = await link_of(server, creator)
    for _ in range(2):
        response = await link(http, ann, code)
        assert response.status_code == 200
        assert response.json() == {"success": True, "message": "Referral linked successfully"}
    assert await attribution(server, ann) == (creator.id, code, True)
    rival = await server.person("Rival")
    response = await link(http, ann, await link_of(server, rival))
    assert (response.status_code, response.json()["success"]) == (200, True)
    assert await attribution(server, ann) == (creator.id, code, True)


async def test_concurrent_links_attribute_once(
    server: Server, http: httpx.AsyncClient, creator: ApiUser, ann: ApiUser
):
    codes = [await link_of(server, creator) for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for code in codes:
            nursery.start_soon(link, http, ann, code)
    assert (await attribution(server, ann))[1] in codes


async def test_invalid_codes_and_guests_are_rejected(
    server: Server, http: httpx.AsyncClient, creator: ApiUser, ann: ApiUser
):
    for missing in (None, "", "  "):
        response = await link(http, ann, missing)
        assert response.status_code == 400
        assert response.json()["error"] == "Referral code is required"
    own = await link_of(server, creator)
    for person, code in ((ann, "CC_00000000"), (creator, own), (creator, chef_code(creator))):
        response = await link(http, person, code)
        assert response.status_code == 400
        assert response.json()["error"] == "Invalid referral code"
    assert (await link(http, ann, 7)).status_code == 400
    guest_response = await http.post("/api/v1/auth/link-referral", json={"referralCode": own})
    assert guest_response.status_code == 401
    assert await attribution(server, ann) is None


@pytest.mark.parametrize(
    "late",
    [
        "update users set created_at = now() - interval '31 days' where id = %(id)s",
        "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
        " current_period_end, provider) values (%(id)s, 2, 'expired', now() - interval '2 days',"
        " now() - interval '1 day', 'manual')",
    ],
)
async def test_late_referral_changes_nothing(
    server: Server, http: httpx.AsyncClient, creator: ApiUser, ann: ApiUser, late: str
):
    await server.sql(late, id=ann.id)
    response = await link(http, ann, await link_of(server, creator))
    assert response.status_code == 200
    assert "not linked" in response.json()["message"]
    assert await attribution(server, ann) is None
