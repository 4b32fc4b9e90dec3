"""Firebase Cloud Messaging, the HTTP v1 API; open it with `Fcm.open`.

Source: Google's reference of `projects.messages.send` and of the error codes of FCM.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.google_play.access import AccessTokens
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

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"

UNREGISTERED = "UNREGISTERED"
OF_ANOTHER = "SENDER_ID_MISMATCH"
"""The token is of another project's app. It is not ended: a wrong setting of ours would end all."""


@define(eq=False)
class Fcm:
    """Sends to Android devices. `PushService` says what `send` raises."""

    url: str
    calls: StoreCalls
    _access: AccessTokens
    _http: LazyHttpClient = field(
        factory=lambda: LazyHttpClient(new_connections), init=False, repr=False
    )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        api_url: str,
        key: Secret,
        calls: StoreCalls | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[Fcm]:
        """`key` is the JSON text of a service account, which names the project."""
        project = orjson.loads(key.reveal())["project_id"]
        fcm = cls(
            f"{api_url}/v1/projects/{project}/messages:send",
            calls or StoreCalls(),
            AccessTokens(key, clock, SCOPE),
        )
        try:
            yield fcm
        finally:
            await fcm._http.aclose()

    async def send(self, token: str, message: PushMessage) -> Outcome:
        content = _content(token, message)
        return await self.calls.within(lambda: self.calls.call(lambda: self._ask(content)), "fcm")

    async def _ask(self, content: bytes) -> Outcome:
        """One request; a token that is not taken is replaced once: it may have been revoked."""
        http = await self._http.get()
        access = await self._access.get(http)
        answer = await _post(http, self.url, content, access)
        if answer.status_code == 401 and "THIRD_PARTY_AUTH_ERROR" not in _codes(answer):
            self._access.refused(access)
            answer = await _post(http, self.url, content, await self._access.get(http))
        return SENT if answer.status_code == 200 else _refusal(answer)


def _content(token: str, message: PushMessage) -> bytes:
    seconds = max(0, int(message.expires_at.timestamp() - time.time()))
    return orjson.dumps(
        {
            "message": {
                "token": token,
                "notification": {"title": message.title, "body": message.body},
                "data": dict(message.data),
                "android": {
                    "priority": "HIGH" if message.urgent else "NORMAL",
                    "ttl": f"{seconds}s",
                    # A notification of the same tag replaces the one that is shown.
                    "notification": {"sound": message.sound, "tag": message.id},
                },
            }
        }
    )


async def _post(http: httpx.AsyncClient, url: str, content: bytes, access: str) -> httpx.Response:
    import httpx

    headers = {"Authorization": f"Bearer {access}", "Content-Type": "application/json"}
    try:
        return await http.post(url, content=content, headers=headers)
    except httpx.HTTPError:
        raise StoreUnavailable from None


def _refusal(answer: httpx.Response) -> Outcome:
    """Raises StoreMisconfigured for what is wrong with us."""
    codes = _codes(answer)
    if UNREGISTERED in codes:
        return Outcome("gone", UNREGISTERED)
    if OF_ANOTHER in codes:
        return Outcome("refused", OF_ANOTHER)
    if answer.status_code == 400 and "message.token" in codes:
        return Outcome("gone", "INVALID_TOKEN")
    if answer.status_code == 400:
        return Outcome("refused", "INVALID_ARGUMENT")
    structlog.get_logger(__name__).error("FCM refused our key", status=answer.status_code)
    raise StoreMisconfigured


def _codes(answer: httpx.Response) -> set[str]:
    """FCM's own codes of an error, and the fields that it finds wrong; none where it is written
    otherwise. A 404 without a code is of a page that is not the API's."""
    try:
        error = cast("dict[str, Any]", orjson.loads(answer.content))["error"]
        details: list[dict[str, Any]] = error.get("details", [])
        codes = {str(detail["errorCode"]) for detail in details if "errorCode" in detail}
        return codes | {
            str(violation["field"])
            for detail in details
            for violation in detail.get("fieldViolations", [])
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
