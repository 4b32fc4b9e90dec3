"""Client of Supabase Auth through the supabase library, without stored sessions.

The library's client stores the session of the last sign-in and sends it with later requests. So
each operation creates a client that neither stores nor refreshes sessions, and discards it. The
operations share one connection pool.

Only the library's auth client is used: `supabase.AsyncClient` starts an asyncio task on each
sign-in, which does not run on Trio. The code paths used here have no timers, tasks or locks.

Importing the library takes about half a second, so `warm_up` or the first call does it in a
thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

import structlog
from attrs import define

from cookcam.config.readers import Secret
from cookcam.errors import (
    AppError,
    AuthenticationError,
    EmailNotConfirmed,
    InvalidCredentials,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
    TokenExpired,
)
from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.integrations.http_client import LazyHttpClient, send_traceparent
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout, log_outage
from cookcam.integrations.supabase.auth_errors import (
    AccountExists,
    AuthRejected,
    PasswordRejected,
    app_error_from,
    error_from_response,
    provider_status,
)
from cookcam.integrations.supabase.sessions import AuthSession, AuthUser, SignedUp
from cookcam.integrations.trust import trusted

if TYPE_CHECKING:
    import httpx
    from supabase_auth import AsyncGoTrueClient
    from supabase_auth.types import Session, User

T = TypeVar("T")

ONCE = RetryPolicy(deadline=8.0)
"""For writes. Three in a row stay below the 25 s of a response."""

READ = RetryPolicy(deadline=4.0, attempts=3)
"""For reads, which are retried."""


@define(eq=False)
class SupabaseAuth:
    """The identity provider's client; open it with `SupabaseAuth.open`.

    Every operation raises ServiceUnavailable when the provider does not respond or responds with
    5xx, RateLimited on a 429, ServiceAuthError when it rejects the key, and ServiceError for an
    unexpected response, besides the errors in its docstring.
    """

    _url: str
    _anon_key: Secret
    _service_role_key: Secret
    _once: RetryPolicy
    _read: RetryPolicy
    _breaker: CircuitBreaker | None
    _http: LazyHttpClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        supabase_url: str,
        anon_key: Secret,
        service_role_key: Secret,
        once: RetryPolicy = ONCE,
        read: RetryPolicy = READ,
        breaker: CircuitBreaker | None = None,
    ) -> AsyncGenerator[SupabaseAuth]:
        """Open a client for the project at `supabase_url`; its connections close with the block.

        `once` is the policy for writes, `read` the retry policy for reads.
        """
        url = f"{supabase_url}/auth/v1"
        async with aclosing(LazyHttpClient(_new_connections)) as http:
            yield cls(url, anon_key, service_role_key, once, read, breaker, http)

    async def warm_up(self) -> None:
        """Import the library ahead of the first call."""
        await self._http.get()

    async def sign_up(self, email: str, password: str, name: str) -> SignedUp:
        """Create an account. Raises AccountExists, PasswordRejected.

        Signing up is not idempotent: after a timeout it is unknown whether the account exists.
        So it is tried once more. If the account exists by then and the password signs in, it is
        the account that the first attempt created.
        """
        try:
            return await self._sign_up(email, password, name)
        except ServiceTimeout:
            pass
        try:
            return await self._sign_up(email, password, name)
        except AccountExists as exists:
            try:
                session = await self.sign_in(email, password)
            except InvalidCredentials:
                raise exists from None
            return SignedUp(session.user, session)

    async def sign_in(self, email: str, password: str) -> AuthSession:
        """Sign in. Raises InvalidCredentials, or EmailNotConfirmed if the password is correct."""
        try:
            response = await self._call(
                lambda client: client.sign_in_with_password({"email": email, "password": password})
            )
        except AuthRejected as rejected:
            if rejected.provider_code == "email_not_confirmed":
                raise EmailNotConfirmed from None
            if rejected.provider_status == 400:
                raise InvalidCredentials from None
            raise
        return _session(response.session)

    async def refresh(self, refresh_token: str) -> AuthSession:
        """Exchange a refresh token for a new session. Raises AuthenticationError if invalid."""
        try:
            response = await self._call(lambda client: client.refresh_session(refresh_token))
        except AuthRejected as rejected:
            if rejected.provider_status in (400, 401, 403, 404, 422):
                raise AuthenticationError("Please sign in again") from None
            raise
        return _session(response.session)

    async def get_user(self, token: str) -> AuthUser:
        """Return the owner of an access token. Raises TokenExpired."""
        try:
            response = await self._call(lambda client: client.get_user(token), self._read)
        except AuthRejected as rejected:
            if rejected.provider_status in (400, 401, 403, 404):
                raise TokenExpired from None
            raise
        if response is None:
            raise TokenExpired
        return _user(response.user)

    async def sign_out(self, token: str) -> None:
        """End the session that `token` belongs to; an ended session is not an error."""
        try:
            await self._call(lambda client: client.admin.sign_out(token, "local"))
        except AuthRejected as rejected:
            if rejected.provider_status not in (401, 403, 404):
                raise

    async def recover(self, email: str, redirect_to: str) -> None:
        """Send a recovery mail with a link if the address has an account.

        Hides failures that would reveal whether the address has an account, such as the limit of
        mails or a failing mail server. Raises ServiceUnavailable when the provider does not respond
        to a health check either.
        """
        try:
            await self._once.call(
                lambda: self._send(
                    "POST", "/recover", {"email": email}, params={"redirect_to": redirect_to}
                ),
                self._breaker,
            )
        except ServiceAuthError:
            raise
        except AppError as error:
            structlog.get_logger(__name__).warning("no mail for recovery", failure=error.code)
            with suppress(AuthRejected, RateLimited):  # the provider responds
                await self._read.call(lambda: self._send("GET", "/health"), self._breaker)

    async def change_password(self, token: str, password: str) -> None:
        """Change the password of the owner of an access token and end the other sessions.

        Raises TokenExpired, PasswordRejected.
        """
        try:
            await self._once.call(
                lambda: self._send("PUT", "/user", {"password": password}, token=token),
                self._breaker,
            )
        except AuthRejected as rejected:
            if rejected.provider_status in (401, 403, 404):
                raise TokenExpired from None
            if rejected.provider_code == "same_password":
                raise PasswordRejected("Please choose a password you have not used") from None
            if rejected.provider_status in (400, 422):
                raise PasswordRejected("Please choose a stronger password") from None
            raise

    async def admin_delete_user(self, user_id: UUID) -> None:
        """Delete an account, with the service key; a missing account is not an error."""
        try:
            await self._call(
                lambda client: client.admin.delete_user(str(user_id)), key=self._service_role_key
            )
        except AuthRejected as rejected:
            if rejected.provider_status in (401, 403):
                raise ServiceAuthError from None
            if rejected.provider_status != 404:
                raise

    async def signing_keys(self) -> Sequence[Mapping[str, Any]]:
        """Return the entries of the project's JWKS; none for a project that signs with a secret."""
        http = await self._http.get()

        async def fetch() -> Sequence[Mapping[str, Any]]:
            import httpx

            try:
                response = await http.get(
                    f"{self._url}/.well-known/jwks.json",
                    headers={"apikey": self._anon_key.reveal()},
                )
            except httpx.HTTPError:
                raise ServiceUnavailable from None
            if response.status_code == 429:
                raise RateLimited
            if response.status_code >= 500:
                raise ServiceUnavailable
            return _jwks_entries(response)

        return await self._read.call(fetch, self._breaker)

    async def _sign_up(self, email: str, password: str, name: str) -> SignedUp:
        try:
            response = await self._call(
                lambda client: client.sign_up(
                    {"email": email, "password": password, "options": {"data": {"name": name}}}
                )
            )
        except AuthRejected as rejected:
            if rejected.provider_code in ("user_already_exists", "email_exists"):
                raise AccountExists from None
            raise
        if response.user is None:
            raise ServiceError
        session = None if response.session is None else _session(response.session)
        return SignedUp(_user(response.user), session)

    async def _call(
        self,
        operation: Callable[[AsyncGoTrueClient], Awaitable[T]],
        policy: RetryPolicy | None = None,
        *,
        key: Secret | None = None,
    ) -> T:
        """Run an operation on a new client and translate the library's exceptions.

        The exceptions are not chained: their frames and messages contain passwords and tokens.
        """
        http = await self._http.get()
        from supabase_auth.errors import AuthError

        async def once() -> T:
            try:
                return await operation(_throwaway_client(self._url, key or self._anon_key, http))
            except AuthError as error:
                failure = app_error_from(error)
                structlog.get_logger(__name__).info(
                    "identity provider refused",
                    status=provider_status(error),
                    code=error.code,
                    failure=type(failure).__name__,
                )
            except ValueError:  # a response that is not of the documented shape
                failure = ServiceError()
            raise failure

        with log_outage("identity provider does not answer"):
            return await (policy or self._once).call(once, self._breaker)

    async def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> None:
        """Send a request that the library supports only with a stored session.

        Raises the errors of `_call`, and AuthRejected with GoTrue's code.
        """
        http = await self._http.get()
        import httpx

        headers = {"apikey": self._anon_key.reveal()}
        headers["Authorization"] = f"Bearer {token or self._anon_key.reveal()}"
        try:
            response = await http.request(
                method, f"{self._url}{path}", json=content, params=params, headers=headers
            )
        except httpx.HTTPError:
            raise ServiceUnavailable from None
        failure = error_from_response(response)
        if failure is not None:
            raise failure


def _new_connections() -> httpx.AsyncClient:
    """Create the HTTP client. Runs in a thread: the imports take 0.5 s."""
    import httpx
    import supabase_auth as _  # noqa: F401 - for its side effect of being imported

    # The callers' cancel scopes limit the calls; these timeouts are per step, as a fallback.
    return httpx.AsyncClient(
        verify=trusted(),
        event_hooks={"request": [send_traceparent]},
        timeout=httpx.Timeout(10.0, connect=3.0),
        limits=httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=30),
    )


def _throwaway_client(url: str, key: Secret, http: httpx.AsyncClient) -> AsyncGoTrueClient:
    from supabase_auth import AsyncGoTrueClient

    return AsyncGoTrueClient(
        url=url,
        headers={"apikey": key.reveal(), "Authorization": f"Bearer {key.reveal()}"},
        auto_refresh_token=False,
        persist_session=False,
        http_client=http,
    )


def _user(user: User) -> AuthUser:
    try:
        user_id = UUID(user.id)
    except ValueError:
        raise ServiceError from None
    return AuthUser(
        id=user_id,
        email=user.email or None,
        app_metadata=user.app_metadata,
        user_metadata=user.user_metadata,
        wire=user.model_dump(mode="json", exclude_none=True),
    )


def _session(session: Session | None) -> AuthSession:
    if session is None or session.expires_at is None:
        raise ServiceError
    return AuthSession(
        user=_user(session.user),
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        token_type=session.token_type,
        expires_in=session.expires_in,
        expires_at=session.expires_at,
    )


def _jwks_entries(response: httpx.Response) -> Sequence[Mapping[str, Any]]:
    try:
        document: object = response.json() if response.status_code == 200 else None
    except ValueError:
        document = None
    entries: object = (
        cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    )
    if not isinstance(entries, list):
        raise ServiceError
    return [
        cast("dict[str, Any]", entry)
        for entry in cast("list[object]", entries)
        if isinstance(entry, dict)
    ]
