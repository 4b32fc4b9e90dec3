"""Expo's push service, for tokens like `ExponentPushToken[…]`; open it with `Expo.open`.

Expo accepts a message with a ticket and passes it on to APNs or FCM. It keeps the receipt with the
outcome for a day under the ticket's id. Source: Expo's "Send notifications with Expo's Push API".
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, cast

import orjson
import structlog
from attrs import define, evolve

from cookcam.config.readers import Secret
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderHttpClient,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from cookcam.integrations.push.models import SENT, PushMessage, PushResult

if TYPE_CHECKING:
    import httpx

MAX_RECEIPTS = 300
"""Receipts of one request; Expo allows 1,000, and its own client asks for 300."""

_TOKEN = re.compile(r"Expo(nent)?PushToken\[[^\[\]\s]{1,255}\]")


class _Rejected(Exception):
    """Expo rejected the whole request; `args` has its code."""


@define(eq=False)
class Expo:
    """`PushService` says what `send` raises, and `receipts` raises the same."""

    max_batch: ClassVar[int] = 100

    url: str
    calls: ProviderCallPolicy
    _headers: Mapping[str, str]
    _http: ProviderHttpClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        url: str,
        access_token: Secret | None = None,
        calls: ProviderCallPolicy | None = None,
    ) -> AsyncGenerator[Expo]:
        """`access_token` is required when the project has enhanced push security enabled."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if access_token is not None:
            headers["Authorization"] = f"Bearer {access_token.reveal()}"
        async with aclosing(ProviderHttpClient()) as http:
            yield cls(f"{url}/--/api/v2/push", calls or ProviderCallPolicy(), headers, http)

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[PushResult]:
        valid = [message for message in messages if _TOKEN.fullmatch(message.token)]
        results = iter(await self.calls.within(lambda: self._send(valid), "expo") if valid else [])
        invalid = PushResult("gone", "InvalidToken")
        return [next(results) if _TOKEN.fullmatch(one.token) else invalid for one in messages]

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushResult]:
        """The results of up to MAX_RECEIPTS tickets; those without a receipt are missing."""
        try:
            data = await self.calls.within(
                lambda: self._request("getReceipts", {"ids": list(tickets)}), "expo"
            )
        except _Rejected as rejection:
            structlog.get_logger(__name__).error("Expo rejected our request", code=str(rejection))
            raise ProviderMisconfigured from None
        if not isinstance(data, dict):
            raise ProviderUnavailable
        receipts = cast("dict[str, Any]", data)
        return {ticket: _result(receipts[ticket]) for ticket in tickets if ticket in receipts}

    async def _send(self, messages: Sequence[PushMessage]) -> list[PushResult]:
        """Sends a rejected request again in halves: one invalid message, or tokens of two projects,
        make Expo reject all messages of a request."""
        try:
            data = await self._request("send", [_content(message) for message in messages])
        except _Rejected as rejection:
            if len(messages) == 1:
                return [PushResult("refused", str(rejection))]
            middle = len(messages) // 2
            return [*await self._send(messages[:middle]), *await self._send(messages[middle:])]
        tickets = cast("list[Any]", data)
        if not isinstance(data, list) or len(tickets) != len(messages):
            raise ProviderUnavailable
        return [_result(ticket) for ticket in tickets]

    async def _request(self, method: str, body: object) -> Any:
        content = orjson.dumps(body)

        async def once() -> Any:
            response = await self._http.request(
                "POST", f"{self.url}/{method}", content=content, headers=self._headers
            )
            return _data(response)

        return await self.calls.call(once)


def _content(message: PushMessage) -> dict[str, Any]:
    return {
        "to": message.token,
        "title": message.title,
        "body": message.body,
        "data": dict(message.data),
        "sound": "default",  # Expo has no other one
        "priority": "high" if message.urgent else "default",
        "expiration": int(message.expires_at.timestamp()),
    }


def _data(response: httpx.Response) -> Any:
    """`data` of a response. Raises _Rejected with Expo's code, ProviderMisconfigured for a rejected
    access token, ProviderUnavailable for another shape."""
    try:
        body = cast("dict[str, Any]", orjson.loads(response.content))
        errors: list[dict[str, Any]] = body.get("errors") or []
        code = str(errors[0]["code"]) if errors else ""
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProviderUnavailable from None
    if response.status_code in (401, 403) or code == "UNAUTHORIZED":
        structlog.get_logger(__name__).error("Expo rejected our access token", code=code)
        raise ProviderMisconfigured
    if code:
        raise _Rejected(code)
    if response.status_code != 200:
        raise ProviderUnavailable
    return body.get("data")


def _result(outcome: Any) -> PushResult:
    """The result of a ticket or receipt."""
    try:
        if outcome["status"] == "ok":
            return evolve(SENT, ticket=str(outcome.get("id", "")))
        details: dict[str, Any] = outcome.get("details") or {}
        code = str(details.get("error", "error"))
    except (KeyError, TypeError, AttributeError):
        raise ProviderUnavailable from None
    return PushResult("gone" if code == "DeviceNotRegistered" else "refused", code)
