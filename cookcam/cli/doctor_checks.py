"""The checks of `cookcam doctor`: what a running server answers from outside.

Nothing is changed on the server: the requests read, or are rejected. With an account, a session is
opened and ended. Results have fixed texts, codes and statuses: no token, no password, no body.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import trio
from attrs import define, field, frozen
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

CHECK_TIMEOUT: Final = 15.0
"""Seconds for one check."""

API: Final = "/api/v1"
UNLISTED_ORIGIN: Final = "https://doctor.invalid"
"""RFC 2606 reserves `.invalid`: no server lists an origin in it."""
FORGED_TOKEN: Final = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkb2N0b3IifQ.c2lnbmF0dXJl"  # noqa: S105
"""A JWT with an invalid signature."""
ERROR_KEYS: Final = frozenset(
    {"error", "message", "code", "statusCode", "requestId", "timestamp", "path"}
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "strict-transport-security": "max-age=31536000",
    "content-security-policy": "frame-ancestors 'none'",
}
"""Header and what its value contains."""

UNTRUSTED: Final = "the certificate is not trusted"

State = Literal["ok", "failed", "skipped"]


class CheckFailed(Exception):
    """The server answers, but not as it must."""


class Skipped(Exception):
    """The check needs something that was not given, or that is not reachable from here."""


@frozen
class Finding:
    """The result of one check."""

    check: str
    state: State
    detail: str

    def __str__(self) -> str:
        return f"{self.state:<8} {self.check:<24} {self.detail}"


@define
class Target:
    """The server to check, and what the caller may use there.

    `origin` is a web origin that the server lists; `internal_key` its INTERNAL_API_KEY, or a comma
    list of which the first is sent.
    """

    url: str
    http: httpx.AsyncClient
    email: str | None = None
    password: str | None = None
    token: str | None = None
    origin: str | None = None
    internal_key: str | None = None
    sentry_dsn: str | None = None
    signed_in: bool = field(default=False, init=False)
    """Whether a check has opened the session of `token`."""
    redirect: str | None = field(default=None, init=False)
    """The address to which the server redirects all requests."""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=headers)

    def websocket_url(self, path: str) -> str:
        return f"ws{self.url.removeprefix('http')}{path}"


Check = Callable[[Target], Awaitable[str]]


async def run_checks(target: Target) -> list[Finding]:
    """Run all checks, one after the other; never raises for a failing server.

    An address that redirects to another one gets the first check only.
    """
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        findings.append(await _run(name, check, target))
        if target.redirect is not None:
            break
    return findings


@asynccontextmanager
async def open_target(url: str, **options: str | None) -> AsyncGenerator[Target]:
    """`options` are fields of `Target`."""
    url = url.rstrip("/")
    async with httpx.AsyncClient(base_url=url, timeout=CHECK_TIMEOUT) as http:
        yield Target(url, http, **options)


async def _run(name: str, check: Check, target: Target) -> Finding:
    state: State = "failed"
    detail = f"no answer within {CHECK_TIMEOUT:g} s"
    with trio.move_on_after(CHECK_TIMEOUT):
        try:
            detail = await check(target)
            state = "ok"
        except Skipped as skipped:
            state, detail = "skipped", str(skipped)
        except CheckFailed as failed:
            detail = str(failed)
        except httpx.ConnectError as error:
            detail = "does not accept connections"
            if _is_untrusted(error):
                detail = UNTRUSTED
        except (httpx.HTTPError, HandshakeError, ConnectionClosed, OSError) as error:
            detail = f"the connection failed ({type(error).__name__})"
        except (ValueError, KeyError, TypeError) as error:
            detail = f"the answer cannot be read ({type(error).__name__})"
    return Finding(name, state, detail)


def _is_untrusted(error: BaseException | None) -> bool:
    """Whether the verification of a certificate is behind an error of the HTTP client."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _require(met: bool, otherwise: str) -> None:
    if not met:
        raise CheckFailed(otherwise)


def _require_error(response: httpx.Response, status: int, *codes: str) -> None:
    """The response is an error of the one shape, with one of the codes if there are any."""
    _require(response.status_code == status, f"is {response.status_code}, not {status}")
    body: dict[str, Any] = response.json()
    missing = ERROR_KEYS - body.keys()
    _require(not missing, f"lacks {', '.join(sorted(missing))}")
    _require(body["statusCode"] == status, f"statusCode is {body['statusCode']}")
    same_id = body["requestId"] == response.headers.get("x-request-id")
    _require(same_id, "requestId is not that of X-Request-Id")
    _require(not codes or body["code"] in codes, f"the code is {body['code']}")


async def _transport(target: Target) -> str:
    parts = urlsplit(target.url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    try:
        response = await target.get("/health")
    except httpx.ConnectError as error:
        hint = "SSL_CERT_FILE can name the certificate of its authority"
        _require(not _is_untrusted(error), f"{UNTRUSTED}; {hint}")
        raise
    if response.has_redirect_location:
        target.redirect = response.headers["location"].removesuffix("/health")
        raise CheckFailed(f"the address redirects to {target.redirect}")
    if parts.scheme == "http":
        _require(local, "plain HTTP to another machine")
        raise Skipped("plain HTTP to this machine")
    _require(response.status_code == 200, f"/health is {response.status_code}")
    if parts.port not in (None, 443):
        return f"TLS with a trusted certificate, {response.http_version}"
    redirect = await target.http.get(f"http://{parts.hostname}/health", follow_redirects=False)
    location: str = redirect.headers.get("location", "")
    _require(location.startswith("https://"), "plain HTTP is not redirected to HTTPS")
    return f"TLS with a trusted certificate, {response.http_version}; plain HTTP is redirected"


async def _headers(target: Target) -> str:
    for path in ("/health", f"{API}/doctor-{secrets.token_hex(4)}"):
        response = await target.get(path)
        for name, part in SECURITY_HEADERS.items():
            values = response.headers.get_list(name)
            _require(
                len(values) == 1 and part in values[0],
                f"{name} of a {response.status_code} is not once and {part}",
            )
    return ", ".join(SECURITY_HEADERS)


async def _health(target: Target) -> str:
    response = await target.get("/health")
    _require(response.status_code == 200, f"is {response.status_code}")
    body: dict[str, Any] = response.json()
    _require(body["status"] == "healthy", "is not healthy")
    return f"{body['release']}, {body['environment']}, up {body['uptime']} s"


async def _draining(target: Target) -> str:
    body: dict[str, Any] = (await target.get("/health")).json()
    _require(not body.get("draining", False), "the server is shutting down")
    return "not draining"


async def _readiness(target: Target) -> str:
    response = await target.get("/health/ready")
    if response.status_code == 404:
        raise Skipped("not reachable through the proxy: check an instance on its own port")
    body: dict[str, Any] = response.json()
    down = [
        f"{name} ({state.get('error', state['status'])})"
        for name, state in body.get("services", {}).items()
        if state["status"] == "down"
    ]
    _require(body["ready"] is True, f"not ready: {', '.join(down) or 'draining'}")
    return "the database answers, no migration is pending, the bus is joined"


async def _mode(target: Target) -> str:
    key = (target.internal_key or "").partition(",")[0]
    headers = {"X-API-Key": key} if key else {}
    response = await target.get("/health/detailed", **headers)
    if response.status_code in (401, 404):
        raise Skipped("needs INTERNAL_API_KEY and an instance's own port")
    body: dict[str, Any] = response.json()
    _require(body["mode"] == "normal", f"the mode is {body['mode']}")
    worse = [
        *(name for name, state in body["services"].items() if state["status"] != "up"),
        *(name for name, state in body["circuits"].items() if state != "closed"),
    ]
    _require(not worse, f"degraded: {', '.join(worse)}")
    return f"normal, all of {len(body['services'])} services up, all circuits closed"


async def _not_found(target: Target) -> str:
    response = await target.get(f"{API}/doctor-{secrets.token_hex(4)}")
    _require_error(response, 404, "NOT_FOUND")
    return "404 NOT_FOUND"


async def _bad_request(target: Target) -> str:
    _require_error(await target.get(f"{API}/recipes?limit=many"), 400, "VALIDATION_ERROR")
    return "400 VALIDATION_ERROR"


async def _cors(target: Target) -> str:
    async def allowed(origin: str) -> str | None:
        response = await target.http.request(
            "OPTIONS",
            f"{API}/recipes",
            headers={"Origin": origin, "Access-Control-Request-Method": "GET"},
        )
        _require(response.status_code == 204, f"a preflight is {response.status_code}")
        return response.headers.get("access-control-allow-origin")

    _require(await allowed(UNLISTED_ORIGIN) is None, "an unlisted origin is allowed")
    if target.origin is None:
        return "an unlisted origin is rejected; none was given that should be allowed"
    _require(await allowed(target.origin) == target.origin, f"{target.origin} is not allowed")
    return f"{target.origin} is allowed, an unlisted origin is not"


async def _rate_limits(target: Target) -> str:
    response = await target.get(f"{API}/recipes")
    names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
    missing = [name for name in names if name not in response.headers]
    _require(not missing, f"no {', '.join(missing)}: requests are not limited")
    return f"{response.headers['ratelimit-limit']} requests"


async def _rejected_tokens(target: Target) -> str:
    path = f"{API}/users/profile"
    _require_error(await target.get(path), 401, "AUTHENTICATION_ERROR")
    forged = await target.get(path, Authorization=f"Bearer {FORGED_TOKEN}")
    _require_error(forged, 401, "TOKEN_EXPIRED")
    return "without a token and with a forged one 401"


async def _sign_in(target: Target) -> str:
    if target.token is None:
        if not target.email or not target.password:
            raise Skipped("needs an account: --email and a password, or a token")
        response = await target.http.post(
            f"{API}/auth/login", json={"email": target.email, "password": target.password}
        )
        _require(response.status_code == 200, f"the sign-in is {response.status_code}")
        target.token, target.signed_in = cast("str", response.json()["token"]), True
    profile = await target.get(f"{API}/auth/me", Authorization=f"Bearer {target.token}")
    _require(profile.status_code == 200, f"the profile is {profile.status_code}")
    _require("id" in profile.json()["user"], "the profile has no id")
    return "signed in, the own profile is read"


async def _plain_socket(target: Target) -> str:
    await target.get("/health")  # trio-websocket waits forever when the TLS handshake fails
    url = target.websocket_url(f"{API}/realtime")
    try:
        async with _socket(url, FORGED_TOKEN):
            raise CheckFailed("a forged token is accepted")
    except ConnectionRejected as rejected:
        _require(rejected.status_code == 401, f"a forged token is {rejected.status_code}")
    if target.token is None:
        return "a forged token is rejected with 401; not connected without an account"
    async with _socket(url, target.token) as socket:
        frame = json.loads(await socket.get_message())
        _require(frame["event"] == "connected", f"the first event is {frame['event']}")
        await socket.send_message('{"event": "ping", "id": 1}')
        frame = json.loads(await socket.get_message())
        _require(frame["event"] == "pong", f"the reply to a ping is {frame['event']}")
    return "a forged token is rejected with 401; connected, ping and pong"


async def _socket_io(target: Target) -> str:
    opening = await target.get("/socket.io/?EIO=4&transport=polling")
    _require(opening.status_code == 200, f"a handshake by polling is {opening.status_code}")
    _require(opening.text.startswith("0{"), "the handshake is not Engine.IO's")
    url = target.websocket_url("/socket.io/?EIO=4&transport=websocket")
    rejection = await _socket_io_reply(url, FORGED_TOKEN)
    _require(rejection.startswith("44"), "a forged token is accepted")
    if target.token is None:
        return "a forged token is rejected; not connected without an account"
    reply = await _socket_io_reply(url, target.token)
    _require(reply.startswith("40"), "the token is rejected")
    return "polling and WebSocket; a forged token is rejected; connected"


async def _socket_io_reply(url: str, token: str) -> str:
    """The reply to a CONNECT packet with the token."""
    async with open_websocket_url(url) as socket:
        await socket.get_message()  # Engine.IO's handshake
        await socket.send_message(f"40{json.dumps({'token': token})}")
        while (message := str(await socket.get_message())) == "2":  # a heartbeat
            await socket.send_message("3")
        return message


@asynccontextmanager
async def _socket(url: str, token: str) -> AsyncGenerator[WebSocketConnection]:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    async with open_websocket_url(url, extra_headers=headers) as socket:
        yield socket


async def _sign_out(target: Target) -> str:
    if not target.signed_in:
        raise Skipped("no session was opened")
    headers = {"Authorization": f"Bearer {target.token}"}
    response = await target.http.post(f"{API}/auth/logout", headers=headers)
    _require(response.status_code == 200, f"the sign-out is {response.status_code}")
    return "signed out"


async def _webhook_signature(target: Target) -> str:
    event = json.dumps({"id": "evt_doctor", "object": "event", "type": "doctor"})
    path = f"{API}/subscription/webhook/stripe"
    wrong = {"Stripe-Signature": f"t={int(time.time())},v1={'0' * 64}"}
    response = await target.http.post(path, content=event, headers=wrong)
    error = response.json().get("error")
    if error == "Stripe not configured":
        raise Skipped("payments are not configured")
    _require(error != "Webhook not configured", "STRIPE_WEBHOOK_SECRET is not set")
    _require_error(response, 400)
    _require_error(await target.http.post(path, content=event), 400)
    return "a wrong signature and none are rejected with 400"


async def _error_reports(target: Target) -> str:
    """https://develop.sentry.dev/sdk/data-model/envelopes/"""
    if not target.sentry_dsn:
        raise Skipped("needs SENTRY_DSN")
    dsn = urlsplit(target.sentry_dsn)
    event_id, now = uuid4().hex, datetime.now(UTC).isoformat()
    event = {
        "event_id": event_id,
        "timestamp": now,
        "platform": "python",
        "level": "info",
        "logger": "cookcam.doctor",
        "message": {"formatted": "Test event of cookcam doctor"},
        "tags": {"doctor": "true"},
    }
    lines = ({"event_id": event_id, "sent_at": now}, {"type": "event"}, event)
    host = dsn.hostname if dsn.port is None else f"{dsn.hostname}:{dsn.port}"
    response = await target.http.post(
        f"{dsn.scheme}://{host}/api/{dsn.path.rpartition('/')[2]}/envelope/",
        content="\n".join(json.dumps(line) for line in lines),
        headers={
            "Content-Type": "application/x-sentry-envelope",
            "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_key={dsn.username}",
        },
    )
    _require(response.status_code == 200, f"the event is {response.status_code}")
    return f"test event {event_id} accepted"


CHECKS: Final[Mapping[str, Check]] = {
    "transport": _transport,
    "health": _health,
    "drain": _draining,
    "readiness, migrations": _readiness,
    "mode, services": _mode,
    "security headers": _headers,
    "error shape of a 404": _not_found,
    "error shape of a 400": _bad_request,
    "CORS": _cors,
    "rate limits": _rate_limits,
    "rejected tokens": _rejected_tokens,
    "sign-in": _sign_in,
    "plain socket": _plain_socket,
    "Socket.IO": _socket_io,
    "sign-out": _sign_out,
    "webhook signature": _webhook_signature,
    "error reports": _error_reports,
}
