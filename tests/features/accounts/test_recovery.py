"""A forgotten password: the mail, the link, the new password; and what nobody learns from it."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from cookcam.features.accounts.recovery import service
from cookcam.sandbox.gotrue import Failure
from tests.features.conftest import LANDING, ApiUser, Client, Response, Server, open_server
from tests.identity.project import PASSWORD, some_email

NEW = "A brand<new>password "


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MIN_RESPONSE_TIME", 0.0)


async def forgot(who: Client, email: str) -> Response:
    return await who.post("/auth/forgot-password", {"email": email})


async def mailed(server: Server, ann: ApiUser) -> Client:
    """Ann, with the session that the link of her mail has opened in a browser."""
    assert (await forgot(server.guest, ann.email)).status_code == 200
    mail = server.gotrue.mails[-1]
    assert (mail.to, mail.type) == (ann.email, "recovery")
    async with httpx.AsyncClient() as browser:
        followed = await browser.get(mail.link)
    landed = urlsplit(followed.headers["location"])
    assert f"{landed.scheme}://{landed.netloc}{landed.path}" == LANDING
    session = dict(parse_qsl(landed.fragment))
    assert session["type"] == "recovery"
    return Client(server.http, session["access_token"])


async def log_in(server: Server, email: str, password: str) -> int:
    body = {"email": email, "password": password}
    return (await server.guest.post("/auth/login", body)).status_code


class TestForgetting:
    async def test_the_answer_is_the_same_with_an_account_and_without(
        self, server: Server, ann: ApiUser
    ):
        known = await forgot(server.guest, ann.email.upper())
        unknown = await forgot(server.guest, some_email())
        assert known.status_code == unknown.status_code == 200
        assert known.json() == unknown.json()
        assert known.json()["success"] is True
        assert [mail.to for mail in server.gotrue.mails] == [ann.email]

    async def test_it_takes_as_long_too(
        self, server: Server, ann: ApiUser, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(service, "MIN_RESPONSE_TIME", 0.5)
        for email in (ann.email, some_email()):
            began = time.monotonic()
            await forgot(server.guest, email)
            assert time.monotonic() - began >= 0.5

    @pytest.mark.parametrize("status", [429, 500, 504])
    async def test_a_mail_that_fails_is_not_received_but_logged(
        self, server: Server, ann: ApiUser, status: int
    ):
        """Only for those who have an account is there a mail that can fail."""
        server.gotrue.behaviour.failure = Failure(status, times=1)
        with capture_logs() as logs:
            assert (await forgot(server.guest, ann.email)).status_code == 200
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
            "no mail for recovery"
        ]
        assert ann.email not in str(logs)

    async def test_a_provider_that_is_away_is_a_503_for_everybody(
        self, server: Server, ann: ApiUser
    ):
        server.gotrue.behaviour.failure = Failure(503)
        for email in (ann.email, some_email()):
            response = await forgot(server.guest, email)
            assert (response.status_code, response.json()["success"]) == (503, False)

    @pytest.mark.parametrize(
        ("email", "error"),
        [("", "Email is required"), (None, "Email is required"), ("x", "Invalid email format")],
    )
    async def test_what_is_no_address_is_rejected(self, guest: Client, email: Any, error: str):
        response = await guest.post("/auth/forgot-password", {"email": email})
        assert (response.status_code, response.json()["error"]) == (400, error)

    async def test_an_address_has_so_many_tries(self, database_url: str):
        limits = {"ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_AUTH_MAX_REQUESTS": "3"}
        async with open_server(database_url, **limits) as server:
            email = some_email()
            statuses = [(await forgot(server.guest, email)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]

    async def test_others_cannot_keep_the_owner_from_a_mail(self, database_url: str):
        limits = {
            "ENABLE_RATE_LIMITING": "true",
            "RATE_LIMIT_AUTH_MAX_REQUESTS": "3",
            "TRUSTED_PROXIES": "127.0.0.1/32",
        }
        async with open_server(database_url, **limits) as server:
            ann = await server.person("Ann")
            for number in range(6):
                response = await server.guest.post(
                    "/auth/forgot-password",
                    {"email": ann.email},
                    headers={"X-Forwarded-For": f"192.0.2.{number}"},
                )
                assert response.status_code == 200
            assert [mail.to for mail in server.gotrue.mails] == [ann.email] * 3


class TestResetting:
    async def test_who_followed_the_link_has_a_new_password(self, server: Server, ann: ApiUser):
        assert ann.user is not None
        elsewhere = await server.gotrue.sign_in(ann.user)
        client = await mailed(server, ann)
        response = await client.post("/auth/reset-password", {"password": NEW})
        assert (response.status_code, response.json()["success"]) == (200, True), response.text
        assert await log_in(server, ann.email, PASSWORD) == 401
        assert await log_in(server, ann.email, NEW) == 200
        body = {"refresh_token": elsewhere.refresh_token}
        assert (await server.guest.post("/auth/refresh", body)).status_code == 401

    async def test_link_can_be_used_once(self, server: Server, ann: ApiUser):
        await mailed(server, ann)
        async with httpx.AsyncClient() as browser:
            again = await browser.get(server.gotrue.mails[-1].link)
        assert "error=access_denied" in again.headers["location"]

    @pytest.mark.parametrize("password", ["short", "x" * 1001, "", None, PASSWORD])
    async def test_a_weak_password_or_the_old_one_is_rejected(
        self, server: Server, ann: ApiUser, password: Any
    ):
        client = await mailed(server, ann)
        response = await client.post("/auth/reset-password", {"password": password})
        assert (response.status_code, response.json()["success"]) == (400, False), response.text
        assert await log_in(server, ann.email, PASSWORD) == 200

    async def test_one_that_the_provider_finds_weak_too(self, server: Server, ann: ApiUser):
        client = await mailed(server, ann)
        response = await client.post("/auth/reset-password", {"password": "é" * 40})
        assert (response.status_code, response.json()["success"]) == (400, False), response.text

    async def test_no_other_token_will_do(self, server: Server, ann: ApiUser):
        assert ann.user is not None
        signed_in = (await server.gotrue.sign_in(ann.user)).access_token
        now = int(time.time())
        issue = server.gotrue.issue_token
        for token in (
            None,
            "no.token.atall",
            signed_in,
            issue(ann.user),
            issue(ann.user, amr=[{"method": "otp", "timestamp": now - 3700}]),
            issue(ann.user, amr=[{"method": "password", "timestamp": now}]),
            issue(ann.user, amr="otp"),
            issue(ann.user, amr=["otp", {"method": "otp"}]),
            # Of a session that has ended: the provider says so.
            issue(ann.user, amr=[{"method": "otp", "timestamp": now}]),
        ):
            response = await Client(server.http, token).post(
                "/auth/reset-password", {"password": NEW}
            )
            assert (response.status_code, response.json()["success"]) == (401, False), response.text
        assert await log_in(server, ann.email, PASSWORD) == 200

    async def test_a_provider_that_is_away_is_a_503(self, server: Server, ann: ApiUser):
        client = await mailed(server, ann)
        assert (await client.get("/auth/me")).status_code == 200  # the keys are known from here on
        server.gotrue.behaviour.failure = Failure(503)
        response = await client.post("/auth/reset-password", {"password": NEW})
        assert (response.status_code, response.json()["success"]) == (503, False)
        server.gotrue.behaviour.failure = None
        assert (await client.post("/auth/reset-password", {"password": NEW})).status_code == 200

    async def test_nothing_of_it_is_logged(self, server: Server, ann: ApiUser):
        with capture_logs() as logs:
            client = await mailed(server, ann)
            await client.post("/auth/reset-password", {"password": NEW})
        assert client.token is not None
        link = server.gotrue.mails[-1].token
        assert not any(secret in str(logs) for secret in (NEW, client.token, ann.email, link))
