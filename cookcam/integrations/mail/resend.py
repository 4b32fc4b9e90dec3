"""Sends mail through Resend's API; open it with `Resend.open`.

Source: Resend's "Send Email", "Errors" and "Idempotency Keys" (resend.com/docs). Resend sends one
mail for each idempotency key within 24 hours. Nothing of its messages is logged, because they may
repeat addresses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from email.utils import formataddr
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
from attrs import define

from cookcam.config.secret import Secret
from cookcam.integrations.mail.models import Mail, MailRejected
from cookcam.integrations.provider_calls import (
    ProviderCallPolicy,
    ProviderHttpClient,
    ProviderMisconfigured,
    ProviderUnavailable,
)

if TYPE_CHECKING:
    import httpx

SENT_BEFORE = "invalid_idempotent_request"
"""A mail with this key and another content was sent: after an update of the templates."""


@define(eq=False)
class Resend:
    """`MailService` over HTTP."""

    url: str
    sender: str
    calls: ProviderCallPolicy
    _headers: Mapping[str, str]
    _http: ProviderHttpClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        url: str,
        api_key: Secret,
        sender: str,
        sender_name: str,
        calls: ProviderCallPolicy | None = None,
    ) -> AsyncGenerator[Resend]:
        """`sender` is an address of a domain that is verified at Resend."""
        headers = {
            "Authorization": f"Bearer {api_key.reveal()}",
            "Content-Type": "application/json",
        }
        address = formataddr((sender_name, sender))
        async with aclosing(ProviderHttpClient()) as http:
            yield cls(f"{url}/emails", address, calls or ProviderCallPolicy(), headers, http)

    async def send(self, mail: Mail) -> None:
        """`MailService` says what it raises."""
        content = orjson.dumps(
            {
                "from": self.sender,
                "to": [mail.to],
                "subject": mail.subject,
                "text": mail.text,
                "html": mail.html,
                "headers": {"Auto-Submitted": "auto-generated"},
            }
        )
        headers = {**self._headers, "Idempotency-Key": mail.id}

        async def once() -> None:
            _check(await self._http.request("POST", self.url, content=content, headers=headers))

        await self.calls.within(lambda: self.calls.call(once), "resend")


def _check(response: httpx.Response) -> None:
    if response.status_code == 200:
        return
    error = _error_name(response)
    if response.status_code in (401, 403):
        structlog.get_logger(__name__).error("Resend rejected us", error=error)
        raise ProviderMisconfigured
    if response.status_code in (400, 422):
        raise MailRejected(reason=error)
    if error != SENT_BEFORE:  # such as a request with the same key that still runs
        raise ProviderUnavailable


def _error_name(response: httpx.Response) -> str:
    """The name of an error, such as `validation_error`."""
    try:
        name = cast("dict[str, Any]", orjson.loads(response.content))["name"]
    except (ValueError, KeyError, TypeError):
        return str(response.status_code)
    text = str(name)
    return text if text.isidentifier() and len(text) <= 50 else str(response.status_code)
