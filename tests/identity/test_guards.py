"""The guards of views, on an app of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from cookcam.config import loading
from cookcam.errors import ServiceUnavailable
from cookcam.http import Routes, current_request_info, errors_as
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.http.route_options import route_options_of
from cookcam.identity import Authenticator, Identity
from cookcam.identity.guards import admin_only, optional_caller, signed_in
from cookcam.observability.context import current_log_fields
from cookcam.observability.metrics import Metrics
from tests.identity.signers import ANN, NOW, PROJECT, Provider, claims, signer

KEY = signer("ES256")


def routes() -> Routes:
    bp = Routes("guarded", __name__)

    def seen(caller: Identity | None) -> Mapping[str, Any]:
        return {
            "caller": caller and str(caller.user_id),
            "current_request_info": current_request_info().user_id,
            "logged": current_log_fields().get("userId"),
        }

    @bp.get("/signed-in/<thing>")
    @signed_in
    async def for_people(caller: Identity, thing: str) -> Mapping[str, Any]:
        return {**seen(caller), "thing": thing}

    @bp.get("/optional")
    @optional_caller
    async def for_everybody(caller: Identity | None) -> Mapping[str, Any]:
        return seen(caller)

    @bp.get("/admin")
    @admin_only
    async def for_administrators(caller: Identity) -> Mapping[str, Any]:
        return seen(caller)

    return bp


@pytest.fixture
def provider() -> Provider:
    return Provider([KEY.jwk()])


@pytest.fixture
async def http(provider: Provider) -> AsyncIterator[httpx.AsyncClient]:
    settings = loading.load(
        {
            "APP_ENV": "test",
            "DATABASE_URL": "postgresql://localhost/none",
            "SUPABASE_URL": PROJECT,
            "SUPABASE_ANON_KEY": "anon",
            "SUPABASE_SERVICE_ROLE_KEY": "service",
            "OPENAI_API_KEY": "sk-test",
        }
    )
    async with Authenticator.open(
        provider, supabase_url=PROJECT, jwt_secrets=(), metrics=Metrics(), clock=lambda: NOW
    ) as authenticator:
        app = create_app(settings, [routes()], authenticator=authenticator)
        edge = Edge(app, settings, limits=RateLimits({}))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(edge), base_url="http://test/api/v1"
        ) as client:
            yield client


def bearer(**changes: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY.sign(claims(**changes))}"}


async def test_the_caller_comes_first_and_is_known_to_facts_and_log(http: httpx.AsyncClient):
    response = await http.get("/signed-in/soup", headers=bearer())
    ann = str(ANN)
    assert response.json() == {
        "caller": ann,
        "current_request_info": ann,
        "logged": ann,
        "thing": "soup",
    }


async def test_people_without_a_good_token_are_rejected(http: httpx.AsyncClient):
    assert (await http.get("/signed-in/soup")).status_code == 401
    response = await http.get("/signed-in/soup", headers=bearer(exp=NOW - 60))
    assert (response.status_code, response.json()["code"]) == (401, "TOKEN_EXPIRED")


async def test_whatever_is_wrong_with_a_token_makes_a_guest_where_guests_may_come(
    http: httpx.AsyncClient, provider: Provider
):
    no_user = {"caller": None, "current_request_info": None, "logged": None}
    assert (await http.get("/optional", headers=bearer())).json()["caller"] == str(ANN)
    assert (await http.get("/optional")).json() == no_user
    for headers in (bearer(exp=NOW - 60), {"Authorization": "Bearer x"}):
        assert (await http.get("/optional", headers=headers)).json() == no_user


async def test_outage_of_the_provider_is_503_and_not_401(
    http: httpx.AsyncClient, provider: Provider
):
    provider.failure = ServiceUnavailable()
    assert (await http.get("/signed-in/soup", headers=bearer())).status_code == 503
    assert (await http.get("/optional", headers=bearer())).json()["caller"] is None


async def test_only_app_metadata_opens_what_is_for_administrators(http: httpx.AsyncClient):
    assert (await http.get("/admin")).status_code == 401
    for changes in ({}, {"role": "admin"}, {"user_metadata": {"role": "admin"}}):
        response = await http.get("/admin", headers=bearer(**changes))
        assert response.status_code == 403
        assert response.json()["error"] == "Admin access required"
    response = await http.get("/admin", headers=bearer(app_metadata={"role": "admin"}))
    assert response.json()["caller"] == str(ANN)


def test_guard_keeps_the_route_options_of_its_view():
    @signed_in
    @errors_as(flagged=True, unexpected="Failed")
    async def view(_caller: Identity) -> None:
        """The view's words."""

    @optional_caller
    async def open_view(_caller: Identity | None) -> None: ...

    assert view.__doc__ == "The view's words."
    assert route_options_of(view).dialect.unexpected == "Failed"
    assert route_options_of(view).authentication == "required"
    assert route_options_of(open_view).authentication == "optional"
