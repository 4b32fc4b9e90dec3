"""The client of Resend's API against a fake server: content, results, repeated requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from cookcam.config.secret import Secret
from cookcam.integrations.mail import Mail, MailRejected, Resend
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from cookcam.sandbox.mail import FakeMail, open_mail

MAIL = Mail("3f0c", "änn@cook.test", "Grüße & <b>", "Grüße", "<p>Grüße</p>")
CALLS = ProviderCallPolicy(initial_delay=0.01)


@pytest.fixture
async def server() -> AsyncIterator[FakeMail]:
    async with open_mail() as opened:
        yield opened


def opened(server: FakeMail, key: str = "re_sandbox"):
    return Resend.open(
        url=server.url,
        api_key=Secret(key),
        sender="noreply@cookcam.app",
        sender_name="CookCam",
        calls=CALLS,
    )


async def test_mail_is_sent_with_both_parts_and_its_idempotency_key(server: FakeMail):
    async with opened(server) as resend:
        await resend.send(MAIL)
    (received,) = server.received
    assert (received.sender, received.to) == ("noreply@cookcam.app", MAIL.to)
    assert (received.subject, received.text, received.html) == (
        MAIL.subject, MAIL.text, MAIL.html
    )  # fmt: skip
    assert (received.message_id, received.headers["Auto-Submitted"]) == ("3f0c", "auto-generated")


async def test_mail_whose_response_was_lost_is_sent_once(server: FakeMail):
    server.behaviour.api_drops = 4
    async with opened(server) as resend:
        with pytest.raises(ProviderUnavailable):
            await resend.send(MAIL)
        await resend.send(MAIL)
        # After an update of the templates the body is another one.
        await resend.send(evolve(MAIL, text="Hello"))
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "name", "raised"),
    [
        (422, "validation_error", MailRejected),
        (400, "validation_error", MailRejected),
        (401, "missing_api_key", ProviderMisconfigured),
        (403, "validation_error", ProviderMisconfigured),  # the sender's domain is not verified
        (409, "concurrent_idempotent_requests", ProviderUnavailable),
        (429, "daily_quota_exceeded", ProviderUnavailable),
        (500, "application_error", ProviderUnavailable),
        (302, "moved", ProviderUnavailable),
    ],
)
async def test_errors_by_status(server: FakeMail, status: int, name: str, raised: type[Exception]):
    server.behaviour.api_error = (status, name)
    async with opened(server) as resend:
        with capture_logs() as logs, pytest.raises(raised) as caught:
            await resend.send(MAIL)
    assert type(caught.value) is raised
    if isinstance(caught.value, MailRejected):
        assert caught.value.reason == name
    assert MAIL.to not in str(logs)
    assert "re_sandbox" not in str(logs)


async def test_wrong_key_is_a_misconfiguration(server: FakeMail):
    async with opened(server, "re_other") as resend:
        with pytest.raises(ProviderMisconfigured):
            await resend.send(MAIL)
    assert server.received == []
