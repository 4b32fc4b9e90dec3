"""Mails on the whole program: who gets which, and what an outage does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from attrs import define

from cookcam.features.accounts.deletion import service as deletion
from cookcam.features.messaging.mail import sender as mail_sender
from cookcam.features.messaging.mail.templates import render
from cookcam.sandbox.mail import FakeMail, ReceivedMail, open_mail
from tests.features.conftest import ApiUser
from tests.identity.project import PASSWORD
from tests.support.social import ApiServer, open_api_server, running

PHONE = "CookCam/1.0 (iPhone; iOS 18)"


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.01)


@define
class MailApp:
    server: ApiServer
    mail: FakeMail

    async def log_in(self, person: ApiUser, address: str, agent: str = PHONE) -> None:
        response = await self.server.guest.post(
            "/auth/login",
            {"email": person.email, "password": PASSWORD},
            headers={"X-Forwarded-For": address, "User-Agent": agent},
        )
        assert response.status_code == 200, response.text

    async def mails(self, person: ApiUser, count: int) -> list[ReceivedMail]:
        """Waits for that many mails to the person."""

        def found() -> list[ReceivedMail]:
            return [one for one in self.mail.received if one.to == person.email]

        await until(lambda: len(found()) >= count)
        return found()


@pytest.fixture
async def app(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MailApp]:
    monkeypatch.setattr(mail_sender, "POLL_INTERVAL", 0.1)
    monkeypatch.setattr(deletion, "INTERVAL", 0.2)
    async with (
        open_mail() as mail,
        open_api_server(
            fresh_database_url,
            tmp_path,
            TRUSTED_PROXIES="127.0.0.1",
            APP_BASE_URL="https://cook.test",
            **mail.bindings,
        ) as server,
    ):
        yield MailApp(server, mail)


async def test_sign_in_from_a_new_place_is_notified_and_mailed_once(app: MailApp):
    ann = await app.server.person()
    await app.log_in(ann, "203.0.113.7")  # the first place
    await app.log_in(ann, "203.0.113.99")  # the same network
    for _ in range(2):
        await app.log_in(ann, "198.51.100.7")
    (mail,) = await app.mails(ann, 1)
    assert mail.subject == "New sign-in to your CookCam account"
    assert "with an iPhone" in mail.text
    assert "https://cook.test/reset-password" in mail.text
    assert "https://cook.test/reset-password" in mail.html
    response = await ann.get("/notifications")
    assert response.status_code == 200, response.text
    (item,) = response.json()["notifications"]
    assert (item["type"], item["data"]) == ("new_sign_in", {"device": "an iPhone"})
    rows = await app.server.sql(
        "select place_hash from sign_in_places where user_id = %(id)s", id=ann.id
    )
    assert len(rows) == 2
    assert "203.0.113" not in str(rows)
    await app.log_in(ann, "2001:db8:1::1", agent="curl")
    assert len(await app.mails(ann, 2)) == 2


async def test_place_is_known_after_the_service_key_was_replaced(app: MailApp):
    ann = await app.server.person()
    await app.log_in(ann, "203.0.113.7")
    gotrue, api = app.server.gotrue, app.server
    keys = f"{gotrue.issue_api_key('service_role')},{gotrue.service_role_key}"
    async with running(
        api.database_url,
        gotrue,
        api.files,
        api.storage,
        TRUSTED_PROXIES="127.0.0.1",
        SUPABASE_SERVICE_ROLE_KEY=keys,
    ) as restarted:
        again = MailApp(restarted, app.mail)
        await again.log_in(ann, "203.0.113.7")
        assert (await ann.get("/notifications")).json()["notifications"] == []
        await again.log_in(ann, "198.51.100.7")
        with trio.fail_after(20):
            while not (await ann.get("/notifications")).json()["notifications"]:
                await trio.sleep(0.02)
        # Known under the current key by now.
        hashes = "select count(*) from sign_in_places where user_id = %(id)s"
        assert await api.sql(hashes, id=ann.id) == [(3,)]


async def test_deletion_receipt_is_mailed_and_the_address_forgotten(app: MailApp):
    ann = await app.server.person()
    app.mail.behaviour.data_reply = "451 try again later"
    body = {"confirmPassword": PASSWORD}
    response = await ann.request("DELETE", "/auth/account", json=body)
    assert response.status_code == 200, response.text
    job = (
        "select status, email_ciphertext is null from account_deletions order by requested_at desc"
    )
    assert (await app.server.sql(f"{job} limit 1")) == [("identity_deleted", False)]
    app.mail.behaviour.data_reply = None
    await app.server.sql("update account_deletions set next_attempt_at = now()")
    (mail,) = await app.mails(ann, 1)
    assert mail.subject == "Your CookCam account has been deleted"
    with trio.fail_after(20):
        while await app.server.sql(job) != [("completed", True)]:
            await trio.sleep(0.05)
    receipt = mail.text.strip().rsplit("\n", 1)[1]
    assert receipt in mail.html
    verified = await app.server.guest.post("/auth/account/receipt", {"receipt": receipt})
    assert verified.json()["valid"] is True


async def test_mails_go_through_the_api_when_it_is_configured(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mail_sender, "POLL_INTERVAL", 0.1)
    async with (
        open_mail() as mail,
        open_api_server(
            fresh_database_url, tmp_path, TRUSTED_PROXIES="127.0.0.1", **mail.api_bindings
        ) as server,
    ):
        app = MailApp(server, mail)
        ann = await server.person()
        await app.log_in(ann, "203.0.113.7")
        await app.log_in(ann, "198.51.100.7")
        (received,) = await app.mails(ann, 1)
        assert received.subject == "New sign-in to your CookCam account"
        assert received.message_id in mail.api_sent


def test_values_are_escaped_in_html_alone():
    mail = render("new_sign_in", "1", "ann@cook.test", at="now", device="<b>", app_url="https://x")
    assert "with <b>." in mail.text
    assert "with &lt;b&gt;." in mail.html
    with pytest.raises(Exception, match="undefined"):
        render("new_sign_in", "1", "ann@cook.test", at="now")
