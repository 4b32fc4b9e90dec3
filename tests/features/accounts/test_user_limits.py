"""Limits of their own: payments, photos, links and deliveries that nobody verified."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from tests.support.app_stores import open_stores_app
from tests.support.creators import open_creators_server

LIMITED = {
    "ENABLE_RATE_LIMITING": "true",
    "RATE_LIMIT_MAX_REQUESTS": "100000",
}


async def test_payments_of_a_user_are_limited_together(database_url: str) -> None:
    async with open_creators_server(database_url, **LIMITED) as stage:
        creator, ann, bob = await stage.creator(), await stage.person(), await stage.person("Bob")
        recipe = await stage.recipe(creator)
        paths = (f"/subscription/recipe/{recipe}/tip", f"/recipe/{recipe}/tip")
        before = len(stage.new("payment_intent.created"))
        statuses = [
            (await ann.post(paths[number % 2], {"amount": 1.0})).status_code for number in range(12)
        ]
        assert statuses == [200] * 10 + [429] * 2
        checkout = await ann.post("/subscription/create-checkout", {"tier": "regular"})
        assert checkout.status_code == 429
        assert int(checkout.headers["Retry-After"]) > 60
        assert (await bob.post(paths[0], {"amount": 1.0})).status_code == 200
        assert before == 0


async def test_links_and_photos_of_a_user_are_limited(database_url: str) -> None:
    async with open_creators_server(database_url, **LIMITED) as stage:
        creator = await stage.creator()
        links = [
            (await creator.post("/subscription/affiliate/generate", {})).status_code
            for _ in range(11)
        ]
        assert links == [200] * 10 + [429]
        photo = {"imageData": base64.b64encode(b"no photo").decode()}
        path = f"/recipes/{uuid4()}/upload-completion-photo"
        photos = [(await creator.post(path, photo)).status_code for _ in range(11)]
        assert 429 not in photos[:10]
        assert photos[10] == 429


@pytest.mark.parametrize("store", ["apple", "google"])
async def test_unverified_deliveries_of_an_address_are_limited(
    database_url: str, store: str
) -> None:
    environ = {**LIMITED, "TRUSTED_PROXIES": "127.0.0.1/32"}
    async with open_stores_app(database_url, Authority.make(), Keys.make(), **environ) as mall:

        async def deliver(address: str, prefix: str = "/api/v1") -> int:
            response = await mall.http.post(
                f"{prefix}/subscription/webhook/{store}",
                json={"signedPayload": "a.b.c", "message": {"data": "e30="}},
                headers={"X-Forwarded-For": address},
            )
            return response.status_code

        statuses = {await deliver("192.0.2.1") for _ in range(20)}
        assert statuses <= {400, 401}
        assert await deliver("192.0.2.1") == await deliver("192.0.2.1", "/api") == 429
        assert await deliver("192.0.2.2") in {400, 401}
