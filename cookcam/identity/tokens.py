"""Verifies access tokens and returns an Identity, for HTTP and for sockets.

The `alg` in a token's header only selects the verifier:

| `alg`                | verified by                                                             |
|----------------------|-------------------------------------------------------------------------|
| RS256, ES256, EdDSA  | the project's public key of that id, with the one algorithm of that key |
| HS256                | each of `JWT_SECRET`; without it, the provider's own `GET /user`        |
| anything else        | rejected                                                                |

A public key is never used with HS256, and the secret only with HS256, so a token cannot choose
another algorithm for its key. `exp`, `aud` and `iss` are checked on every path.

A token is verified once: its identity is cached (`token_cache`). Each use of a cached token checks
the times again, the key that verified it, and the state of the account.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import UUID

import trio
from attrs import define, field

from cookcam.config.secret import Secret
from cookcam.errors import (
    AccessDenied,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
    TokenExpired,
)
from cookcam.identity.account_states import AccountClosed, AccountStates
from cookcam.identity.claims import Rejected, has_current_times, identity_from
from cookcam.identity.keys import ASYMMETRIC, KeySet
from cookcam.identity.models import Identity
from cookcam.identity.token_cache import TokenCache, VerifiedToken
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics

log = get_logger(__name__)

MAX_TOKEN_LENGTH = 8 * 1024
"""Characters; a Supabase access token has one or two thousand."""

REJECTED = "Token expired or invalid"
"""The `error` literal of a rejected token."""

LOOKUP_TIMEOUT = 5.0
"""Seconds the provider may take to answer for one token."""

LOOKUP_TTL = 30.0
"""Seconds for which the provider's decision on a token is used; it may revoke the session."""


class ProviderUser(Protocol):
    """The provider's description of a token's owner."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str | None: ...
    @property
    def app_metadata(self) -> Mapping[str, Any]: ...
    @property
    def user_metadata(self) -> Mapping[str, Any]: ...


class IdentityProvider(Protocol):
    """The provider's operations that this package needs; see
    `cookcam.integrations.supabase.client`."""

    async def signing_keys(self) -> Sequence[Mapping[str, Any]]:
        """The `keys` of the project's JWKS. Raises AppError when they cannot be fetched."""
        ...

    async def get_user(self, token: str) -> ProviderUser:
        """The owner of a token. Raises TokenExpired, or another AppError when undecided."""
        ...


@define(eq=False)
class Authenticator:
    """Verifies access tokens of one Supabase project; open it with `Authenticator.open`."""

    _issuer: str
    _secrets: Sequence[Secret]
    _provider: IdentityProvider
    _keys: KeySet
    _metrics: Metrics
    _clock: Callable[[], float] = time.time
    _accounts: AccountStates | None = None
    _denies_user: Callable[[UUID], bool] = lambda _: False
    _tokens: TokenCache = field(factory=TokenCache)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        provider: IdentityProvider,
        *,
        supabase_url: str,
        jwt_secrets: Sequence[Secret],
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        accounts: AccountStates | None = None,
        denies_user: Callable[[UUID], bool] = lambda _: False,
    ) -> AsyncGenerator[Authenticator]:
        """`clock` gives seconds since the epoch. Nothing is fetched until a token needs it.

        `jwt_secrets` are several while the secret is replaced. Without `accounts`, which tests of
        tokens alone leave out, every account is active.
        `denies_user` is the operators' blocklist.
        """
        issuer = f"{supabase_url}/auth/v1"
        async with KeySet.open(provider.signing_keys) as keys:
            yield cls(issuer, jwt_secrets, provider, keys, metrics, clock, accounts, denies_user)

    async def identify(self, token: str, *, allow_deleted: bool = False) -> Identity:
        """The caller who owns `token`, whose account is active.

        Raises TokenExpired (401) for a token that is malformed, forged, foreign or expired,
        AccountClosed (401) for one whose account is banned or, unless `allow_deleted`, deleted,
        AccessDenied (403) for a user on the blocklist, and ServiceUnavailable (503) when that
        cannot be decided now. The reason is logged, without any part of the token, and is not in
        the response.
        """
        from jwt import PyJWTError

        try:
            identity = await self._identify(token)
        except (Rejected, PyJWTError, ValueError, RecursionError, TokenExpired) as error:
            reason = str(error) if isinstance(error, Rejected) else type(error).__name__
            log.debug("token rejected", reason=reason)
            raise TokenExpired(error=REJECTED) from None
        if self._denies_user(identity.user_id):
            raise AccessDenied
        if self._accounts is None:
            return identity
        state = await self._accounts.state_of(identity.user_id)
        if state == "active" or (state == "deleted" and allow_deleted):
            return identity
        self.forget(token)
        log.info("token rejected", reason=f"account {state}", userId=str(identity.user_id))
        raise AccountClosed(error=REJECTED, state=state)

    def cached_identity(self, token: str) -> Identity | None:
        """The owner of a token that was verified before and has not expired; no check of its
        account. Never waits: for limits before the request is authenticated."""
        cached = self._tokens.get(token)
        if cached is None or not has_current_times(cached.identity.claims, self._clock()):
            return None
        return cached.identity

    def forget(self, token: str) -> None:
        """Verify `token` again when it is used next, because its session has ended."""
        self._tokens.drop(token)

    async def _identify(self, token: str) -> Identity:
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise Rejected("no access token of this provider")
        cached = self._tokens.get(token)
        if cached is not None:
            if await self._is_current(cached):
                self._metrics.cache_requests_total.of("tokens", "hit").inc()
                return cached.identity
            self._tokens.drop(token)
        self._metrics.cache_requests_total.of("tokens", "miss").inc()
        verified = await self._verify(token)
        self._tokens.put(token, verified)
        return verified.identity

    async def _is_current(self, cached: VerifiedToken) -> bool:
        """Whether the token has not expired, and its key is still one of the provider's."""
        if not has_current_times(cached.identity.claims, self._clock()):
            return False
        return cached.key_id is None or await self._keys.find(cached.key_id) is cached.key

    async def _verify(self, token: str) -> VerifiedToken:
        import jwt

        header = jwt.get_unverified_header(token)
        algorithm: object = header.get("alg")
        if isinstance(algorithm, str) and algorithm in ASYMMETRIC:
            return await self._verify_by_key(token, header.get("kid"))
        if algorithm != "HS256":
            raise Rejected("an algorithm the provider does not use")
        if not self._secrets:
            return await self._verify_by_provider(token)
        return VerifiedToken(self._identity(self._claims_by_secret(token)))

    def _claims_by_secret(self, token: str) -> dict[str, Any]:
        """The claims under the first secret that verifies the signature."""
        import jwt

        *others, last = self._secrets
        for secret in others:
            with suppress(jwt.InvalidSignatureError):
                return claims_of(token, secret.reveal(), "HS256")
        return claims_of(token, last.reveal(), "HS256")

    async def _verify_by_key(self, token: str, key_id: str | None) -> VerifiedToken:
        key = None if key_id is None else await self._keys.find(key_id)
        if key is None:
            raise Rejected("signed with a key the provider does not have")
        identity = self._identity(claims_of(token, key, key.algorithm_name))
        return VerifiedToken(identity, key_id, key)

    async def _verify_by_provider(self, token: str) -> VerifiedToken:
        """Let the provider verify a token, since only it has the secret.

        A token that can be rejected without the secret is not sent. The claims are only read after
        the provider has accepted the token.
        """
        import jwt

        unverified = jwt.decode(token, options={"verify_signature": False})
        subject = self._identity(unverified).user_id
        user = await self._owner_of(token)
        if user.id != subject:
            raise Rejected("the provider names another owner")
        identity = self._identity(
            {
                **unverified,
                "email": user.email,
                "app_metadata": dict(user.app_metadata),
                "user_metadata": dict(user.user_metadata),
            }
        )
        return VerifiedToken(identity, usable_until=trio.current_time() + LOOKUP_TTL)

    async def _owner_of(self, token: str) -> ProviderUser:
        try:
            with trio.fail_after(LOOKUP_TIMEOUT):
                return await self._provider.get_user(token)
        except (RateLimited, ServiceError, ServiceAuthError, trio.TooSlowError) as error:
            log.warning("identity provider undecided", reason=type(error).__name__)
            raise ServiceUnavailable from error

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        return identity_from(claims, issuer=self._issuer, now=self._clock())


def claims_of(token: str, key: Any, algorithm: str) -> dict[str, Any]:
    """The claims of a token whose signature is good under `key` with `algorithm` and no other.

    Only the signature is checked here: the claims are `identity_from`'s, whose clock is ours.
    Raises jwt.PyJWTError.
    """
    import jwt

    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        options={
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "verify_aud": False,
            "verify_iss": False,
        },
    )
