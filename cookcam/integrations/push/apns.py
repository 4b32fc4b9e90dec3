"""Apple's Push Notification service with tokens, over HTTP/2; open it with `Apns.open`.

Source: Apple's "Sending notification requests to APNs", "Establishing a token-based connection to
APNs" and "Handling notification responses from APNs".
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
import trio
from attrs import define, frozen

from cookcam.config.readers import Secret
from cookcam.integrations.bearer_tokens import BearerTokens
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderHttpClient,
    ProviderMisconfigured,
)
from cookcam.integrations.push.models import PushMessage, PushResult
from cookcam.integrations.push.token_service import TokenPushService

if TYPE_CHECKING:
    import httpx

TOKEN_LIFETIME = 50 * 60.0
"""Seconds. Apple accepts a token for an hour, and a new one at most every twenty minutes."""

GONE = frozenset({"BadDeviceToken", "ExpiredToken", "Unregistered"})
"""Reasons for which a token is deleted. `DeviceTokenNotForTopic` is not one: our wrong setting
would delete all tokens."""

_TOKEN = re.compile(r"[0-9A-Fa-f]{1,400}")
"""Other text is no token of APNs, and could change the path of the URL."""


@frozen
class ApnsKey:
    """The key for APNs: the text of the .p8 file, its id, and the team it belongs to."""

    text: Secret
    id: str
    team: str


@define(eq=False)
class Apns(TokenPushService):
    """Sends to Apple devices that have the app `topic`. `PushService` says what `send` raises."""

    provider = "apns"

    url: str
    topic: str

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        url: str,
        topic: str,
        key: ApnsKey,
        calls: ProviderCallPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[Apns]:
        """`clock` returns the seconds since 1970 for our tokens."""

        async def create_token() -> str:
            return await trio.to_thread.run_sync(_sign, key, int(clock()))

        tokens = BearerTokens(create_token, TOKEN_LIFETIME)
        async with aclosing(ProviderHttpClient(http2=True)) as http:
            yield cls(calls or ProviderCallPolicy(), http, tokens, url, topic)

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[PushResult]:
        if any(not _TOKEN.fullmatch(message.token) for message in messages):
            return [PushResult("gone", "BadDeviceToken")]
        return await super().send(messages)

    async def request(self, message: PushMessage, token: str) -> httpx.Response:
        alert = {"title": message.title, "body": message.body}
        content = orjson.dumps({"aps": {"alert": alert, "sound": message.sound}, **message.data})
        headers = _headers(self.topic, message, token)
        url = f"{self.url}/3/device/{message.token}"
        return await self.http.request("POST", url, content=content, headers=headers)

    def is_token_rejected(self, response: httpx.Response) -> bool:
        return response.status_code == 403 and _reason(response) == "ExpiredProviderToken"

    def rejected(self, response: httpx.Response) -> PushResult:
        reason = _reason(response)
        if reason in GONE:
            return PushResult("gone", reason)
        if response.status_code in (400, 413) and reason not in ("", "BadTopic", "MissingTopic"):
            return PushResult("refused", reason)
        structlog.get_logger(__name__).error(
            "APNs rejected our request", status=response.status_code, code=reason
        )
        raise ProviderMisconfigured


def _sign(key: ApnsKey, now: int) -> str:
    """Raises ProviderMisconfigured for an invalid key. Runs in a thread: imports, and signing."""
    import jwt

    try:
        return jwt.encode(
            {"iss": key.team, "iat": now},
            key.text.reveal(),
            algorithm="ES256",
            headers={"kid": key.id},
        )
    except (ValueError, TypeError, jwt.PyJWTError):
        structlog.get_logger(__name__).error("the key for APNs cannot be read")
        raise ProviderMisconfigured from None


def _headers(topic: str, message: PushMessage, token: str) -> dict[str, str]:
    return {
        "authorization": f"bearer {token}",
        "apns-topic": topic,
        "apns-push-type": "alert",
        "apns-priority": "10" if message.urgent else "5",
        "apns-expiration": str(int(message.expires_at.timestamp())),
        # Replaces a notification with the same id that is shown.
        "apns-collapse-id": message.id,
        "content-type": "application/json",
    }


def _reason(response: httpx.Response) -> str:
    """Apple's code; empty for another shape."""
    try:
        return str(cast("dict[str, Any]", orjson.loads(response.content))["reason"])
    except (ValueError, KeyError, TypeError):
        return ""
