"""Firebase Cloud Messaging, the HTTP v1 API; open it with `Fcm.open`.

Source: Google's reference of `projects.messages.send` and of the error codes of FCM.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
from attrs import define

from cookcam.config.readers import Secret
from cookcam.integrations.google_play.access import access_tokens
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderHttpClient,
    ProviderMisconfigured,
)
from cookcam.integrations.push.models import PushMessage, PushResult
from cookcam.integrations.push.token_service import TokenPushService

if TYPE_CHECKING:
    import httpx

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"

UNREGISTERED = "UNREGISTERED"
OF_ANOTHER = "SENDER_ID_MISMATCH"
"""The token belongs to another project. Not "gone": our wrong setting would delete all tokens."""


@define(eq=False)
class Fcm(TokenPushService):
    """Sends to Android devices. `PushService` says what `send` raises."""

    provider = "fcm"

    url: str

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        api_url: str,
        key: Secret,
        calls: ProviderCallPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[Fcm]:
        """`key` is the JSON text of a service account, which names the project."""
        project = orjson.loads(key.reveal())["project_id"]
        url = f"{api_url}/v1/projects/{project}/messages:send"
        async with aclosing(ProviderHttpClient()) as http:
            tokens = access_tokens(key, http, clock, SCOPE)
            yield cls(calls or ProviderCallPolicy(), http, tokens, url)

    async def request(self, message: PushMessage, token: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        content = _content(message)
        return await self.http.request("POST", self.url, content=content, headers=headers)

    def is_token_rejected(self, response: httpx.Response) -> bool:
        return response.status_code == 401 and "THIRD_PARTY_AUTH_ERROR" not in _codes(response)

    def rejected(self, response: httpx.Response) -> PushResult:
        codes = _codes(response)
        if UNREGISTERED in codes:
            return PushResult("gone", UNREGISTERED)
        if OF_ANOTHER in codes:
            return PushResult("refused", OF_ANOTHER)
        if response.status_code == 400 and "message.token" in codes:
            return PushResult("gone", "INVALID_TOKEN")
        if response.status_code == 400:
            return PushResult("refused", "INVALID_ARGUMENT")
        structlog.get_logger(__name__).error("FCM rejected our key", status=response.status_code)
        raise ProviderMisconfigured


def _content(message: PushMessage) -> bytes:
    seconds = max(0, int(message.expires_at.timestamp() - time.time()))
    return orjson.dumps(
        {
            "message": {
                "token": message.token,
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


def _codes(response: httpx.Response) -> set[str]:
    """FCM's error codes and the names of invalid fields; empty for another shape, such as a 404
    that is not from the API."""
    try:
        error = cast("dict[str, Any]", orjson.loads(response.content))["error"]
        details: list[dict[str, Any]] = error.get("details", [])
        codes = {str(detail["errorCode"]) for detail in details if "errorCode" in detail}
        return codes | {
            str(violation["field"])
            for detail in details
            for violation in detail.get("fieldViolations", [])
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
