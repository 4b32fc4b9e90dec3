"""Access token of the service account: a signed assertion is exchanged for it at Google.

google-auth's own refresh blocks its thread, so only its signer and its encoder are used. The
request is form-encoded; the token is cached for 55 minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
import trio
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.store_calls import StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    import httpx

SCOPE = "https://www.googleapis.com/auth/androidpublisher"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME = 3600
KEPT = 55 * 60.0


@define(eq=False)
class AccessTokens:
    """One shared token. The first caller fetches it while the others wait.

    `scope` is what the token is good for; `clock` gives the seconds since 1970.
    """

    key: Secret | None
    clock: Callable[[], float]
    scope: str = SCOPE
    _token: str | None = field(default=None, init=False, repr=False)
    _good_until: float = field(default=0.0, init=False)
    _fetching: trio.Lock = field(factory=trio.Lock, init=False)

    async def get(self, http: httpx.AsyncClient) -> str:
        """Raises StoreUnavailable, StoreMisconfigured."""
        async with self._fetching:
            if self._token is None or trio.current_time() >= self._good_until:
                self._token = await self._fetch(http)
                self._good_until = trio.current_time() + KEPT
            return self._token

    def refused(self, token: str) -> None:
        """Google did not take this one, whatever its age."""
        if token == self._token:
            self._token = None

    async def _fetch(self, http: httpx.AsyncClient) -> str:
        import httpx

        if self.key is None:
            raise StoreMisconfigured()
        url, assertion = await trio.to_thread.run_sync(
            _assertion, self.key, self.scope, int(self.clock())
        )
        try:
            answer = await http.post(url, data={"grant_type": GRANT, "assertion": assertion})
        except httpx.HTTPError:
            raise StoreUnavailable from None
        if answer.status_code != 200:
            structlog.get_logger(__name__).error(
                "Google refused the service account", status=answer.status_code
            )
            raise StoreMisconfigured()
        try:
            return str(cast("dict[str, Any]", orjson.loads(answer.content))["access_token"])
        except (ValueError, KeyError, TypeError):
            raise StoreUnavailable from None


def _assertion(key: Secret, scope: str, now: int) -> tuple[str, str]:
    """Where to exchange it, and the assertion. Runs in a thread: imports, and RSA."""
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
            "exp": now + LIFETIME,
        }
        return url, cast("Any", jwt).encode(signer, claims).decode()
    except (ValueError, KeyError, TypeError):
        structlog.get_logger(__name__).error("the key of the service account cannot be read")
        raise StoreMisconfigured from None
