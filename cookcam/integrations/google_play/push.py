"""Verification of the token that Pub/Sub sends with each message.

It is an OpenID token of the service account of the push subscription. Source: Google's page on
authenticated push.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cookcam.errors import AuthenticationError
from cookcam.integrations.provider_calls import ProviderMisconfigured

if TYPE_CHECKING:
    from jwt import PyJWK

ISSUERS = ["https://accounts.google.com", "accounts.google.com"]
LEEWAY = 60.0


class NotPushed(AuthenticationError):
    """The token is not one of our push subscription."""

    code, default_message = "INVALID_PUSH_TOKEN", "The push token is not good"


@frozen
class PushTokens:
    """`find` returns Google's public key by its id. `audience` and `account` are settings."""

    find: Callable[[str], Awaitable[PyJWK | None]]
    audience: str | None
    account: str | None

    async def check(self, token: str) -> None:
        """Verifies a token.

        Raises NotPushed; ProviderMisconfigured without settings; ServiceUnavailable without keys.
        """
        import jwt

        if not self.audience or not self.account:
            raise ProviderMisconfigured()
        try:
            key_id: object = jwt.get_unverified_header(token).get("kid")
            key = await self.find(key_id) if isinstance(key_id, str) else None
            if key is None:
                raise NotPushed()
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self.audience,
                issuer=ISSUERS,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "aud", "iss"]},
            )
        except jwt.PyJWTError:
            raise NotPushed from None
        sender = str(claims.get("email", ""))
        if claims.get("email_verified") is not True or not compare_digest(
            sender.encode(), self.account.encode()
        ):
            raise NotPushed()
