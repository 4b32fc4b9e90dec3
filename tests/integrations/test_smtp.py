"""The SMTP client against a fake server: content, encryption, results."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
from attrs import evolve
from structlog.testing import capture_logs

from cookcam.config.readers import Secret
from cookcam.integrations.mail import Mail, MailRejected, Smtp, SmtpSettings
from cookcam.integrations.provider_calls import ProviderMisconfigured, ProviderUnavailable
from cookcam.sandbox.mail import FakeMail, open_mail
from tests.support.tls import Certificate, make_certificate

MAIL = Mail(
    "3f0c", "änn@cook.test", "Grüße & <b>", ".dot first\nGrüße", "<p>Grüße &amp; &lt;b&gt;</p>"
)
SETTINGS = SmtpSettings("127.0.0.1", 0, "none", None, None, "noreply@cookcam.app", "CookCam")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server() -> AsyncIterator[FakeMail]:
    async with open_mail() as opened:
        yield opened


def client(server: FakeMail, **changes: Any) -> Smtp:
    return Smtp(evolve(SETTINGS, port=server.port, **changes))


async def test_mail_has_both_parts_and_a_stable_message_id(server: FakeMail):
    await client(server).send(MAIL)
    (received,) = server.received
    assert (received.sender, received.to) == ("noreply@cookcam.app", MAIL.to)
    assert received.subject == MAIL.subject
    assert received.text.splitlines() == MAIL.text.splitlines()
    assert received.html.strip() == MAIL.html
    assert received.message_id == "<3f0c@cookcam.app>"
    assert received.headers["From"] == "CookCam <noreply@cookcam.app>"
    assert received.headers["Auto-Submitted"] == "auto-generated"
    async with httpx.AsyncClient(base_url=server.url) as http:
        page = await http.get("/")
        assert "Grüße &amp; &lt;b&gt;" in page.text
        assert "<b>" not in page.text
        assert (await http.get("/_sandbox/mails")).json()[0]["subject"] == MAIL.subject


async def test_starttls_verifies_the_certificate_and_precedes_the_password(
    certificate: Certificate,
):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.cert_file, certificate.key_file)
    async with open_mail(tls=tls) as server:
        server.behaviour.login = ("cookcam", "secret-1")
        settings = evolve(
            SETTINGS,
            port=server.port,
            security="starttls",
            user="cookcam",
            password=Secret("secret-1"),
        )
        await Smtp(settings, certificate.client_context).send(MAIL)
        assert len(server.received) == 1
        wrong = evolve(settings, password=Secret("secret-2"))
        for misconfigured in (
            Smtp(settings),  # an unknown authority
            Smtp(wrong, certificate.client_context),
            Smtp(evolve(settings, user=None), certificate.client_context),
        ):
            with pytest.raises((ProviderMisconfigured, MailRejected)):
                await misconfigured.send(MAIL)
        assert len(server.received) == 1


async def test_missing_starttls_is_a_misconfiguration(server: FakeMail):
    with pytest.raises(ProviderMisconfigured):
        await client(server, security="starttls").send(MAIL)
    assert server.received == []


@pytest.mark.parametrize("step", ["recipient_reply", "data_reply"])
async def test_permanent_and_transient_replies(server: FakeMail, step: str):
    setattr(server.behaviour, step, "550 5.1.1 änn@cook.test: no such user")
    with capture_logs() as logs, pytest.raises(MailRejected) as rejected:
        await client(server).send(MAIL)
    assert rejected.value.reason == "550"
    assert "cook.test" not in f"{logs} {rejected.value!r}"
    setattr(server.behaviour, step, "451 4.7.1 greylisted")
    with pytest.raises(ProviderUnavailable):
        await client(server).send(MAIL)
    assert server.received == []


async def test_lost_response_and_rejected_connection_are_outages(server: FakeMail):
    server.behaviour.drop_after_data = True
    with pytest.raises(ProviderUnavailable):
        await client(server).send(MAIL)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ProviderUnavailable):
        await Smtp(evolve(SETTINGS, port=port)).send(MAIL)


async def test_silent_server_is_an_outage(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cookcam.integrations.mail.smtp.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with trio.fail_after(5), pytest.raises(ProviderUnavailable):
            await Smtp(evolve(SETTINGS, port=port)).send(MAIL)


@pytest.mark.parametrize("to", ["ann@cook.test\nBcc: bob@cook.test", ""])
async def test_address_that_is_none_is_rejected(server: FakeMail, to: str):
    with pytest.raises(MailRejected):
        await client(server).send(evolve(MAIL, to=to))
    assert server.received == []
