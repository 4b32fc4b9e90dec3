"""FCM and APNs clients against fakes of their protocols: results, keys, outages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import httpx
import pytest
from attrs import evolve, frozen
from structlog.testing import capture_logs

from cookcam.config.readers import Secret
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from cookcam.integrations.push import Apns, ApnsKey, Fcm, PushMessage, PushResult, PushService
from cookcam.sandbox.push import FakePush, Keys, open_push
from cookcam.sandbox.push import server as push
from cookcam.sandbox.push.keys import KEY_ID, TEAM_ID

FAST_RETRIES = ProviderCallPolicy(initial_delay=0.01)
TOKENS = {"fcm": "cZ1:APA91b_x-" + "0" * 140, "apns": "0a" * 32}
MESSAGE = PushMessage(
    id=str(uuid4()),
    title="Your streak is about to end",
    body="Cook something",
    data={"type": "streak_warning", "action": "open_camera", "urgency": "high"},
    sound="warning",
    expires_at=datetime.now(UTC) + timedelta(hours=2),
)
LOW_URGENCY = evolve(
    MESSAGE, data={"type": "daily_checkin", "action": "open_camera"}, sound="default"
)


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys.make()


@frozen
class Both:
    fake: FakePush
    fcm: Fcm
    apns: Apns

    def service(self, provider: str) -> PushService:
        return self.fcm if provider == "fcm" else self.apns


@pytest.fixture
async def both(keys: Keys) -> AsyncIterator[Both]:
    async with (
        open_push(keys=keys) as fake,
        open_fcm(fake) as fcm,
        open_apns(fake) as apns,
    ):
        yield Both(fake, fcm, apns)


def open_fcm(fake: FakePush, key: str | None = None) -> Any:
    key = key or fake.service_account
    return Fcm.open(api_url=fake.url, key=Secret(key), calls=FAST_RETRIES)


def open_apns(fake: FakePush, key: Keys | None = None, topic: str = push.TOPIC) -> Any:
    p8 = (key or fake.keys).p8
    apns_key = ApnsKey(Secret(p8), KEY_ID, TEAM_ID)
    return Apns.open(url=fake.url, topic=topic, key=apns_key, calls=FAST_RETRIES)


@pytest.fixture(params=["fcm", "apns"])
def provider(request: pytest.FixtureRequest) -> Literal["fcm", "apns"]:
    return request.param


class TestBothServices:
    async def test_message_has_title_text_data_sound_and_urgency(self, both: Both, provider: str):
        token = TOKENS[provider]
        assert await both.service(provider).send(token, MESSAGE) == PushResult("sent")
        assert await both.service(provider).send(token, LOW_URGENCY) == PushResult("sent")
        warning, low = both.fake.sent
        assert (warning.provider, warning.token) == (provider, token)
        assert (warning.title, warning.body) == (MESSAGE.title, MESSAGE.body)
        assert warning.data == MESSAGE.data
        assert (warning.sound, warning.urgent, warning.collapse) == ("warning", True, MESSAGE.id)
        assert (low.data, low.sound, low.urgent) == (LOW_URGENCY.data, "default", False)

    async def test_unregistered_and_malformed_tokens_are_gone(self, both: Both, provider: str):
        both.fake.gone.add(TOKENS[provider])
        reason = {"fcm": "UNREGISTERED", "apns": "Unregistered"}[provider]
        assert await both.service(provider).send(TOKENS[provider], MESSAGE) == PushResult(
            "gone", reason
        )
        nonsense = await both.service(provider).send("no/token?", MESSAGE)
        assert nonsense.verdict == "gone"
        assert both.fake.sent == []

    async def test_short_outage_is_retried(self, both: Both, provider: str):
        both.fake.behaviour.failures = 2
        outcome = await both.service(provider).send(TOKENS[provider], MESSAGE)
        assert (outcome.verdict, len(both.fake.sent)) == ("sent", 1)

    @pytest.mark.parametrize("status", [500, 503, 429])
    async def test_lasting_outage_raises_with_retry_after(
        self, both: Both, provider: str, status: int
    ):
        behaviour = both.fake.behaviour
        behaviour.failures, behaviour.status, behaviour.retry_after = 99, status, 90
        with pytest.raises(ProviderUnavailable) as caught:
            await both.service(provider).send(TOKENS[provider], MESSAGE)
        assert caught.value.advice == 90

    async def test_rejected_key_is_misconfigured(self, both: Both, provider: str, keys: Keys):
        other_keys = Keys.make()
        other_account = other_keys.service_account(f"{both.fake.url}/token")
        opened = (
            open_fcm(both.fake, other_account)
            if provider == "fcm"
            else open_apns(both.fake, other_keys)
        )
        async with opened as service:
            with pytest.raises(ProviderMisconfigured):
                await service.send(TOKENS[provider], MESSAGE)

    async def test_access_token_is_shared_and_replaced_when_revoked(
        self, both: Both, provider: str, monkeypatch: pytest.MonkeyPatch
    ):
        service = both.service(provider)
        for _ in range(3):
            await service.send(TOKENS[provider], MESSAGE)
        if provider == "fcm":
            assert len(both.fake.access_tokens) == 1
            both.fake.behaviour.revoked.update(both.fake.access_tokens)
        else:
            assert both.apns._tokens._token is not None
            both.fake.behaviour.revoked.add(both.apns._tokens._token)
        assert (await service.send(TOKENS[provider], MESSAGE)).verdict == "sent"

    async def test_refused_connection_is_an_outage(self, provider: str, keys: Keys):
        async with open_push(keys=keys) as fake:
            pass
        opened = open_fcm(fake) if provider == "fcm" else open_apns(fake)
        async with opened as service:
            with pytest.raises(ProviderUnavailable):
                await service.send(TOKENS[provider], MESSAGE)

    async def test_logs_contain_neither_token_nor_text(self, both: Both, provider: str):
        with capture_logs() as logs:
            both.fake.behaviour.failures = 1
            await both.service(provider).send(TOKENS[provider], MESSAGE)
            await both.service(provider).send("no/token?", MESSAGE)
        assert not any(
            secret in str(logs) for secret in (TOKENS[provider], MESSAGE.body, "no/token")
        )


async def test_topic_of_another_app_does_not_delete_the_token(both: Both):
    async with open_apns(both.fake, topic="com.other.app") as apns:
        outcome = await apns.send(TOKENS["apns"], MESSAGE)
    assert outcome == PushResult("refused", "DeviceTokenNotForTopic")


async def test_invalid_key_is_misconfigured(both: Both):
    key = ApnsKey(Secret("-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----"), "k", "t")
    async with Apns.open(url=both.fake.url, topic="t", key=key, calls=FAST_RETRIES) as apns:
        with pytest.raises(ProviderMisconfigured):
            await apns.send(TOKENS["apns"], MESSAGE)


async def test_apns_rejects_http_1(both: Both):
    async with httpx.AsyncClient(base_url=both.fake.url) as http:
        response = await http.post(f"/3/device/{TOKENS['apns']}", json={})
        assert response.status_code == 505


async def test_sent_messages_can_be_listed(both: Both):
    await both.fcm.send(TOKENS["fcm"], MESSAGE)
    await both.apns.send(TOKENS["apns"], LOW_URGENCY)
    async with httpx.AsyncClient(base_url=both.fake.url) as http:
        listed = (await http.get("/_sandbox/sent")).json()
        assert [one["provider"] for one in listed] == ["apns", "fcm"]
        assert listed[1]["title"] == MESSAGE.title
        assert (await http.post("/_sandbox/gone", json={"token": TOKENS["fcm"]})).status_code == 204
    assert (await both.fcm.send(TOKENS["fcm"], MESSAGE)).verdict == "gone"
