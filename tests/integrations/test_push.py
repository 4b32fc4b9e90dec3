"""Expo, FCM and APNs clients against fakes of their protocols: results, keys, outages."""

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
    ProviderHttpClient,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from cookcam.integrations.push import Apns, ApnsKey, Expo, Fcm, PushMessage, PushResult, PushService
from cookcam.sandbox import push
from cookcam.sandbox.push import KEY_ID, TEAM_ID, FakePush, Keys, open_push
from cookcam.sandbox.serving import Failure

FAST_RETRIES = ProviderCallPolicy(initial_delay=0.01)
TOKENS = {"fcm": "cZ1:APA91b_x-" + "0" * 140, "apns": "0a" * 32}
MESSAGE = PushMessage(
    token="",
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


async def send(service: PushService, token: str, message: PushMessage) -> PushResult:
    (result,) = await service.send([evolve(message, token=token)])
    return result


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
        assert await send(both.service(provider), token, MESSAGE) == PushResult("sent")
        assert await send(both.service(provider), token, LOW_URGENCY) == PushResult("sent")
        warning, low = both.fake.sent
        assert (warning.provider, warning.token) == (provider, token)
        assert (warning.title, warning.body) == (MESSAGE.title, MESSAGE.body)
        assert warning.data == MESSAGE.data
        assert (warning.sound, warning.urgent, warning.collapse) == ("warning", True, MESSAGE.id)
        assert (low.data, low.sound, low.urgent) == (LOW_URGENCY.data, "default", False)

    async def test_unregistered_and_malformed_tokens_are_gone(self, both: Both, provider: str):
        both.fake.gone.add(TOKENS[provider])
        reason = {"fcm": "UNREGISTERED", "apns": "Unregistered"}[provider]
        assert await send(both.service(provider), TOKENS[provider], MESSAGE) == PushResult(
            "gone", reason
        )
        nonsense = await send(both.service(provider), "no/token?", MESSAGE)
        assert nonsense.verdict == "gone"
        assert both.fake.sent == []

    async def test_short_outage_is_retried(self, both: Both, provider: str):
        both.fake.behaviour.failure = Failure(503, times=2)
        outcome = await send(both.service(provider), TOKENS[provider], MESSAGE)
        assert (outcome.verdict, len(both.fake.sent)) == ("sent", 1)

    @pytest.mark.parametrize("status", [500, 503, 429])
    async def test_lasting_outage_raises_with_retry_after(
        self, both: Both, provider: str, status: int
    ):
        behaviour = both.fake.behaviour
        behaviour.failure, behaviour.retry_after = Failure(status), 90
        with pytest.raises(ProviderUnavailable) as caught:
            await send(both.service(provider), TOKENS[provider], MESSAGE)
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
                await send(service, TOKENS[provider], MESSAGE)

    async def test_access_token_is_shared_and_replaced_when_revoked(
        self, both: Both, provider: str, monkeypatch: pytest.MonkeyPatch
    ):
        service = both.service(provider)
        for _ in range(3):
            await send(service, TOKENS[provider], MESSAGE)
        if provider == "fcm":
            assert len(both.fake.access_tokens) == 1
            both.fake.behaviour.revoked.update(both.fake.access_tokens)
        else:
            assert both.apns.tokens._token is not None
            both.fake.behaviour.revoked.add(both.apns.tokens._token)
        assert (await send(service, TOKENS[provider], MESSAGE)).verdict == "sent"

    async def test_rejected_connection_is_an_outage(self, provider: str, keys: Keys):
        async with open_push(keys=keys) as fake:
            pass
        opened = open_fcm(fake) if provider == "fcm" else open_apns(fake)
        async with opened as service:
            with pytest.raises(ProviderUnavailable):
                await send(service, TOKENS[provider], MESSAGE)

    async def test_logs_contain_neither_token_nor_text(self, both: Both, provider: str):
        with capture_logs() as logs:
            both.fake.behaviour.failure = Failure(503, times=1)
            await send(both.service(provider), TOKENS[provider], MESSAGE)
            await send(both.service(provider), "no/token?", MESSAGE)
        assert not any(
            secret in str(logs) for secret in (TOKENS[provider], MESSAGE.body, "no/token")
        )


async def test_topic_of_another_app_does_not_delete_the_token(both: Both):
    async with open_apns(both.fake, topic="com.other.app") as apns:
        outcome = await send(apns, TOKENS["apns"], MESSAGE)
    assert outcome == PushResult("refused", "DeviceTokenNotForTopic")


async def test_invalid_key_is_misconfigured(both: Both):
    key = ApnsKey(Secret("-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----"), "k", "t")
    async with Apns.open(url=both.fake.url, topic="t", key=key, calls=FAST_RETRIES) as apns:
        with pytest.raises(ProviderMisconfigured):
            await send(apns, TOKENS["apns"], MESSAGE)


async def test_apns_rejects_http_1(both: Both):
    async with httpx.AsyncClient(base_url=both.fake.url) as http:
        response = await http.post(f"/3/device/{TOKENS['apns']}", json={})
        assert response.status_code == 505


async def test_sent_messages_can_be_listed(both: Both):
    await send(both.fcm, TOKENS["fcm"], MESSAGE)
    await send(both.apns, TOKENS["apns"], LOW_URGENCY)
    async with httpx.AsyncClient(base_url=both.fake.url) as http:
        listed = (await http.get("/_sandbox/sent")).json()
        assert [one["provider"] for one in listed] == ["apns", "fcm"]
        assert listed[1]["title"] == MESSAGE.title
        assert (await http.post("/_sandbox/gone", json={"token": TOKENS["fcm"]})).status_code == 204
    assert (await send(both.fcm, TOKENS["fcm"], MESSAGE)).verdict == "gone"


def expo_token(number: int, project: str = "") -> str:
    return f"ExponentPushToken[{project}{number:022}]"


@frozen
class ExpoSetup:
    fake: FakePush
    expo: Expo

    async def send(self, *tokens: str, **changes: Any) -> list[tuple[str, str]]:
        messages = [evolve(MESSAGE, token=token, **changes) for token in tokens]
        return [(one.verdict, one.reason) for one in await self.expo.send(messages)]

    @property
    def requests(self) -> int:
        return len(self.fake.behaviour.requests)


@pytest.fixture
async def expo(keys: Keys) -> AsyncIterator[ExpoSetup]:
    async with (
        open_push(keys=keys) as fake,
        Expo.open(url=fake.url, calls=FAST_RETRIES) as service,
    ):
        yield ExpoSetup(fake, service)


class TestExpo:
    async def test_batch_is_one_request_with_results_in_order(self, expo: ExpoSetup):
        tokens = [expo_token(number) for number in range(Expo.max_batch)]
        expo.fake.gone.add(tokens[3])
        results = await expo.send(*tokens[:98], "not a token", tokens[99])
        assert expo.requests == 1
        assert results.pop(98) == ("gone", "InvalidToken")
        assert results.pop(3) == ("gone", "DeviceNotRegistered")
        assert results == [("sent", "")] * 98
        first = expo.fake.sent[0]
        assert (first.provider, first.token) == ("expo", tokens[0])
        assert (first.title, first.body, first.data) == (MESSAGE.title, MESSAGE.body, MESSAGE.data)
        assert (first.sound, first.urgent) == ("default", True)

    async def test_tickets_have_receipts(self, expo: ExpoSetup):
        tokens = [expo_token(1), expo_token(2)]
        expo.fake.gone_later.add(tokens[1])
        results = await expo.expo.send([evolve(MESSAGE, token=token) for token in tokens])
        tickets = [result.ticket for result in results]
        assert [result.verdict for result in results] == ["sent", "sent"]
        receipts = await expo.expo.receipts([*tickets, "unknown"])
        assert {ticket: one.verdict for ticket, one in receipts.items()} == {
            tickets[0]: "sent",
            tickets[1]: "gone",
        }

    async def test_invalid_message_and_other_projects_do_not_stop_the_others(self, expo: ExpoSetup):
        ours, theirs = expo_token(1), expo_token(2, "other:")
        assert await expo.send(ours, theirs, ours) == [("sent", "")] * 3
        assert await expo.send(ours, title="", body="") == [("refused", "VALIDATION_ERROR")]

    async def test_short_outage_is_retried(self, expo: ExpoSetup):
        expo.fake.behaviour.failure = Failure(503, times=2)
        assert await expo.send(expo_token(1)) == [("sent", "")]
        assert expo.requests == 3

    @pytest.mark.parametrize("status", [429, 503])
    async def test_lasting_outage_raises_with_retry_after(self, expo: ExpoSetup, status: int):
        behaviour = expo.fake.behaviour
        behaviour.failure, behaviour.retry_after = Failure(status), 90
        for call in (expo.send(expo_token(1)), expo.expo.receipts(["x"])):
            with pytest.raises(ProviderUnavailable) as caught:
                await call
            assert caught.value.advice == 90

    async def test_required_access_token(self, expo: ExpoSetup):
        expo.fake.behaviour.expo_access_token = "expo-secret-of-the-project"
        for call in (expo.send(expo_token(1)), expo.expo.receipts(["x"])):
            with pytest.raises(ProviderMisconfigured):
                await call
        secret = Secret("expo-secret-of-the-project")
        async with Expo.open(url=expo.fake.url, access_token=secret) as authorized:
            (result,) = await authorized.send([evolve(MESSAGE, token=expo_token(1))])
        assert result.verdict == "sent"

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data": []}', b'{"data": [{}]}'])
    async def test_response_of_another_shape_is_an_outage(
        self, expo: ExpoSetup, body: bytes, monkeypatch: pytest.MonkeyPatch
    ):
        async def request(*args: object, **kwargs: object) -> httpx.Response:
            return httpx.Response(200, content=body)

        monkeypatch.setattr(ProviderHttpClient, "request", request)
        with pytest.raises(ProviderUnavailable):
            await expo.send(expo_token(1))

    async def test_logs_contain_neither_token_nor_text(self, expo: ExpoSetup):
        expo.fake.gone.add(expo_token(1))
        with capture_logs() as logs:
            await expo.send(expo_token(1), expo_token(2), "no/token")
            await expo.send(expo_token(1), title="", body="")
        assert not any(secret in str(logs) for secret in ("PushToken", MESSAGE.body, "no/token"))
