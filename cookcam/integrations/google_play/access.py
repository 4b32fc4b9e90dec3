"""Access tokens of a Google service account, obtained in exchange for a signed assertion.

google-auth's own refresh blocks its thread, so only its signer and its encoder are used. The
request is form-encoded; the token is cached for 55 minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import orjson
import structlog
import trio

from cookcam.config.readers import Secret
from cookcam.integrations.bearer_tokens import BearerTokens
from cookcam.integrations.provider_calls import (
    ProviderHttpClient,
    ProviderMisconfigured,
    ProviderUnavailable,
)

SCOPE = "https://www.googleapis.com/auth/androidpublisher"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_LIFETIME = 3600
TOKEN_LIFETIME = 55 * 60.0
"""Seconds. Google's tokens are valid for an hour."""


def access_tokens(
    key: Secret | None,
    http: ProviderHttpClient,
    clock: Callable[[], float],
    scope: str = SCOPE,
) -> BearerTokens:
    """Tokens for `scope`; `clock` returns the seconds since 1970.

    Fetching one raises ProviderUnavailable, and ProviderMisconfigured for a missing or rejected
    key.
    """

    async def create() -> str:
        if key is None:
            raise ProviderMisconfigured()
        url, assertion = await trio.to_thread.run_sync(_assertion, key, scope, int(clock()))
        data = {"grant_type": GRANT, "assertion": assertion}
        response = await http.request("POST", url, data=data)
        if response.status_code != 200:
            structlog.get_logger(__name__).error(
                "Google rejected the service account", status=response.status_code
            )
            raise ProviderMisconfigured()
        try:
            return str(cast("dict[str, Any]", orjson.loads(response.content))["access_token"])
        except (ValueError, KeyError, TypeError):
            raise ProviderUnavailable from None

    return BearerTokens(create, TOKEN_LIFETIME)


def _assertion(key: Secret, scope: str, now: int) -> tuple[str, str]:
    """The token URL and a signed assertion. Call it in a thread: the imports and RSA take long."""
    from google.auth import crypt, jwt

    try:
        info: dict[str, Any] = orjson.loads(key.reveal())
        url: str = info.get("token_uri") or TOKEN_URL
        signer = cast("Any", crypt.RSASigner).from_service_account_info(info)
        claims = {
            "iss": info["client_email"],
            "scope": scope,
            "aud": url,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
        }
        return url, cast("Any", jwt).encode(signer, claims).decode()
    except (ValueError, KeyError, TypeError):
        structlog.get_logger(__name__).error("the key of the service account cannot be read")
        raise ProviderMisconfigured from None
