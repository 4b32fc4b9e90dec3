"""Apple's Push Notification service with tokens, over HTTP/2; open it with `Apns.open`.

Source: Apple's "Sending notification requests to APNs", "Establishing a token-based connection to
APNs" and "Handling notification responses from APNs".
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
import trio
from attrs import define, field, frozen

from cookcam.config.readers import Secret
from cookcam.integrations.http_client import LazyHttpClient
from cookcam.integrations.push.models import SENT, Outcome, PushMessage
from cookcam.integrations.store_calls import (
    StoreCalls,
    StoreMisconfigured,
    StoreUnavailable,
    new_connections,
)

if TYPE_CHECKING:
    import httpx

KEPT = 50 * 60.0
"""Seconds. Apple takes a token for an hour, and wants no new one within twenty minutes."""

GONE = frozenset({"BadDeviceToken", "ExpiredToken", "Unregistered"})
"""Reasons that end a token. `DeviceTokenNotForTopic` does not: a wrong setting of ours would end
them all."""

_TOKEN = re.compile(r"[0-9A-Fa-f]{1,400}")
"""Anything else is of another service, and would be another path."""


@frozen
class ApnsKey:
    """The key for APNs: the text of the .p8 file, its id, and the team it belongs to."""

    text: Secret
    id: str
    team: str


@define(eq=False)
class Apns:
    """Sends to Apple devices that have the app `topic`. `PushService` says what `send` raises."""

    url: str
    topic: str
    key: ApnsKey
    calls: StoreCalls
    clock: Callable[[], float]
    _token: str | None = field(default=None, init=False, repr=False)
    _good_until: float = field(default=0.0, init=False)
    _http: LazyHttpClient = field(
        factory=lambda: LazyHttpClient(partial(new_connections, http2=True)), init=False, repr=False
    )
    _signing: trio.Lock = field(factory=trio.Lock, init=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        url: str,
        topic: str,
        key: ApnsKey,
        calls: StoreCalls | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[Apns]:
        """`clock` gives the seconds since 1970 that our tokens carry."""
        apns = cls(url, topic, key, calls or StoreCalls(), clock)
        try:
            yield apns
        finally:
            await apns._http.aclose()

    async def send(self, token: str, message: PushMessage) -> Outcome:
        if not _TOKEN.fullmatch(token):
            return Outcome("gone", "BadDeviceToken")
        return await self.calls.within(
            lambda: self.calls.call(lambda: self._ask(token, message)), "apns"
        )

    async def _ask(self, token: str, message: PushMessage) -> Outcome:
        """One request; a token of ours that has expired is replaced once: clocks differ."""
        http = await self._http.get()
        ours = await self._signed()
        url = f"{self.url}/3/device/{token}"
        answer = await _post(http, url, _headers(self.topic, message, ours), message)
        if answer.status_code == 403 and _reason(answer) == "ExpiredProviderToken":
            if self._token == ours:
                self._token = None
            ours = await self._signed()
            answer = await _post(http, url, _headers(self.topic, message, ours), message)
        return SENT if answer.status_code == 200 else _refusal(answer)

    async def _signed(self) -> str:
        """Our token; one for all. Raises StoreMisconfigured for a key that cannot be used."""
        async with self._signing:
            if self._token is None or trio.current_time() >= self._good_until:
                self._token = await trio.to_thread.run_sync(_sign, self.key, int(self.clock()))
                self._good_until = trio.current_time() + KEPT
            return self._token


def _sign(key: ApnsKey, now: int) -> str:
    """Runs in a thread: imports, and reading the key."""
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
        raise StoreMisconfigured from None


def _headers(topic: str, message: PushMessage, ours: str) -> dict[str, str]:
    return {
        "authorization": f"bearer {ours}",
        "apns-topic": topic,
        "apns-push-type": "alert",
        "apns-priority": "10" if message.urgent else "5",
        "apns-expiration": str(int(message.expires_at.timestamp())),
        # One of the same id replaces the one that is shown.
        "apns-collapse-id": message.id,
        "content-type": "application/json",
    }


async def _post(
    http: httpx.AsyncClient, url: str, headers: dict[str, str], message: PushMessage
) -> httpx.Response:
    import httpx

    alert = {"title": message.title, "body": message.body}
    content = orjson.dumps({"aps": {"alert": alert, "sound": message.sound}, **message.data})
    try:
        return await http.post(url, content=content, headers=headers)
    except httpx.HTTPError:
        raise StoreUnavailable from None


def _refusal(answer: httpx.Response) -> Outcome:
    """Raises StoreMisconfigured for what is wrong with us."""
    reason = _reason(answer)
    if reason in GONE:
        return Outcome("gone", reason)
    if answer.status_code in (400, 413) and reason not in ("", "BadTopic", "MissingTopic"):
        return Outcome("refused", reason)
    structlog.get_logger(__name__).error("APNs refused us", status=answer.status_code, code=reason)
    raise StoreMisconfigured


def _reason(answer: httpx.Response) -> str:
    """Apple's code; empty where the answer is not Apple's."""
    try:
        return str(cast("dict[str, Any]", orjson.loads(answer.content))["reason"])
    except (ValueError, KeyError, TypeError):
        return ""
