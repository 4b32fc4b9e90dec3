"""Security headers and CORS, on every kind of answer."""

from __future__ import annotations

from typing import Any

import pytest

from cookcam.errors import ServiceUnavailable
from cookcam.http import Routes
from tests.http.conftest import LISTED

SECURITY = {
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "origin-agent-cluster": "?1",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
    "x-download-options": "noopen",
    "x-frame-options": "DENY",
    "x-permitted-cross-domain-policies": "none",
    "x-xss-protection": "0",
}

PREFLIGHT = {
    "access_control_request_method": "POST",
    "access_control_request_headers": "content-type, authorization",
}


@pytest.fixture
def site(make_site: Any) -> Any:
    bp = Routes("some", __name__)

    @bp.get("/ok")
    async def ok() -> Any:
        return {}

    @bp.get("/bug")
    async def bug() -> Any:
        raise RuntimeError("x")

    @bp.get("/down")
    async def down() -> Any:
        raise ServiceUnavailable

    @bp.get("/limited")
    async def limited() -> Any:
        return {}

    return make_site(bp, RATE_LIMIT_MAX_REQUESTS="6")


async def responses(client: Any, **headers: str) -> dict[str, Any]:
    """An answer of every class of status."""
    found = {
        "200": await client.get("/api/v1/ok", **headers),
        "500": await client.get("/api/v1/bug", **headers),
        "503": await client.get("/api/v1/down", **headers),
        "404": await client.get("/api/v1/none", **headers),
        "413": await client.post("/api/v1/ok", content_length="99999999", **headers),
        "204": await client.request("OPTIONS", "/api/v1/ok", **PREFLIGHT, **headers),
    }
    etag = found["200"].headers["etag"]
    found["304"] = await client.get("/api/v1/ok", if_none_match=etag, **headers)
    for _ in range(2):
        found["429"] = await client.get("/api/v1/ok", **headers)
    assert {status: str(reply.status) for status, reply in found.items()} == {s: s for s in found}
    return found


async def test_every_answer_has_the_security_headers_once(site: Any) -> None:
    for reply in (await responses(site.client())).values():
        assert SECURITY.items() <= reply.headers.items()
        assert "x-powered-by" not in reply.headers


async def test_the_policy_forbids_framing_and_foreign_scripts(site: Any) -> None:
    policy = (await site.client().get("/api/v1/ok")).headers["content-security-policy"]
    rules = dict(rule.partition(" ")[::2] for rule in policy.split(";"))
    assert rules["default-src"] == rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["object-src"] == rules["script-src-attr"] == "'none'"
    assert rules["style-src"] == "'self' 'unsafe-inline'"
    assert "upgrade-insecure-requests" not in rules


async def test_json_bodies_end_with_a_newline(site: Any) -> None:
    for path in ("/api/v1/ok", "/nowhere"):
        reply = await site.client().get(path)
        assert reply.body.endswith(b"}\n")
        assert int(reply.headers["content-length"]) == len(reply.body)


async def test_requests_are_upgraded_only_where_the_client_speaks_tls(site: Any) -> None:
    proxied = await site.client().get("/api/v1/ok", x_forwarded_proto="https")
    assert proxied.headers["content-security-policy"].endswith(";upgrade-insecure-requests")
    plain = await site.client().get("/api/v1/ok", x_forwarded_proto="http")
    assert "upgrade-insecure-requests" not in plain.headers["content-security-policy"]


async def test_a_listed_origin_is_echoed_on_every_answer(site: Any) -> None:
    for reply in (await responses(site.client(), origin=LISTED)).values():
        assert reply.headers["access-control-allow-origin"] == LISTED
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert "X-Request-ID" in reply.headers["access-control-expose-headers"]
        assert "Origin" in reply.headers["vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "*", LISTED + ".evil.example"])
async def test_an_unlisted_origin_gets_no_permission(site: Any, origin: str) -> None:
    for reply in (await responses(site.client(), origin=origin)).values():
        assert not any(name.startswith("access-control-") for name in reply.headers)
        assert "Origin" in reply.headers["vary"]


async def test_without_an_origin_there_is_no_permission(site: Any) -> None:
    reply = await site.client().get("/api/v1/ok")
    assert not any(name.startswith("access-control-") for name in reply.headers)
    assert reply.headers["vary"] == "Origin"


async def test_each_listed_origin_is_echoed_as_itself(site: Any) -> None:
    reply = await site.client().get("/api/v1/ok", origin="https://www.cookcam.ai")
    assert reply.headers["access-control-allow-origin"] == "https://www.cookcam.ai"


async def test_a_preflight_is_answered_at_once(site: Any) -> None:
    reply = await site.client().request("OPTIONS", "/no/such/path", origin=LISTED, **PREFLIGHT)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["content-length"] == "0"
    assert reply.headers["access-control-allow-methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
    assert reply.headers["access-control-allow-headers"] == "content-type, authorization"


async def test_the_preflight_of_an_unlisted_origin_allows_nothing(site: Any) -> None:
    evil = {"origin": "https://evil.example", **PREFLIGHT}
    reply = await site.client().request("OPTIONS", "/api/v1/ok", **evil)
    assert (reply.status, reply.headers["content-length"]) == (204, "0")
    assert not any(name.startswith("access-control-") for name in reply.headers)


async def test_only_names_of_headers_are_reflected(site: Any) -> None:
    ask = {**PREFLIGHT, "access_control_request_headers": "x<script>"}
    reply = await site.client().request("OPTIONS", "/api/v1/ok", origin=LISTED, **ask)
    assert reply.status == 204
    assert "access-control-allow-headers" not in reply.headers
