"""Supabase Auth through the supabase library, without a session anywhere.

The library's client is a signed-in user: it stores the session of whoever signed in last and sends
it with what follows. So no client outlives a call here; each operation makes one, tells it to keep
nothing and to refresh nothing, and drops it. What is shared is the pool of connections below it.

Of the library the auth client alone is used: `supabase.AsyncClient` starts an asyncio task on each
sign-in, which cannot run here. The paths used below have no timers, tasks or locks of their own.

Importing it takes about half a second, so that happens in a thread: in `warm_up`, or else in the
first call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

import structlog
import trio
from attrs import define, field

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
from cookcam.providers.auth_errors import (
    AccountExists,
    PasswordRefused,
    Refused,
    app_error_from,
    failure_of,
    provider_status,
)
from cookcam.providers.retry import OutOfTime, RetryPolicy
from cookcam.providers.sessions import AuthSession, AuthUser, SignedUp
from cookcam.providers.trust import trusted
from cookcam.settings.readers import Secret

if TYPE_CHECKING:
    import httpx
    from supabase_auth import AsyncGoTrueClient
    from supabase_auth.types import Session, User

T = TypeVar("T")

ONCE = RetryPolicy(deadline=8.0)
"""For what changes something. Three of these in a row stay below the 25 s of an answer."""

READ = RetryPolicy(deadline=4.0, attempts=3)
"""For reads, which may be repeated."""


@define(eq=False)
class SupabaseAuth:
    """The identity provider; open it with `SupabaseAuth.open`.

    Every operation raises ServiceUnavailable when the provider does not answer or answers 5xx,
    RateLimited on its 429, ServiceAuthError when it refuses our key, and ServiceError for an
    answer that cannot be understood, besides what its docstring says.
    """

    _url: str
    _anon_key: Secret
    _service_role_key: Secret
    _once: RetryPolicy = ONCE
    _read: RetryPolicy = READ
    _http: httpx.AsyncClient | None = None
    _opening: trio.Lock = field(factory=trio.Lock)

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
    ) -> AsyncGenerator[SupabaseAuth]:
        """A client for the project at `supabase_url`; its connections close with the block.

        `once` bounds what changes something, `read` bounds and repeats what does not.
        """
        provider = cls(f"{supabase_url}/auth/v1", anon_key, service_role_key, once, read)
        try:
            yield provider
        finally:
            if provider._http is not None:
                with trio.move_on_after(1, shield=True):
                    await provider._http.aclose()

    async def warm_up(self) -> None:
        """Imports the library ahead of the first call."""
        await self._connections()

    async def sign_up(self, email: str, password: str, name: str) -> SignedUp:
        """Makes an account. Raises AccountExists, PasswordRefused.

        Signing up is not repeatable: after a timeout nobody knows whether the account was made.
        So it is tried once more, and if the account is there by then and opens with the same
        password, it is the one just made (`spec/http-api-core.md` §6.1).
        """
        try:
            return await self._sign_up(email, password, name)
        except OutOfTime:
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
        """A new session. Raises InvalidCredentials; EmailNotConfirmed for a good password only."""
        try:
            response = await self._ask(
                lambda client: client.sign_in_with_password({"email": email, "password": password})
            )
        except Refused as refused:
            if refused.provider_code == "email_not_confirmed":
                raise EmailNotConfirmed from None
            if refused.provider_status == 400:
                raise InvalidCredentials from None
            raise
        return _session(response.session)

    async def refresh(self, refresh_token: str) -> AuthSession:
        """The next session of a chain. Raises AuthenticationError for a token that is not good."""
        try:
            response = await self._ask(lambda client: client.refresh_session(refresh_token))
        except Refused as refused:
            if refused.provider_status in (400, 401, 403, 404, 422):
                raise AuthenticationError("Please sign in again") from None
            raise
        return _session(response.session)

    async def get_user(self, token: str) -> AuthUser:
        """The owner of an access token. Raises TokenExpired."""
        try:
            response = await self._ask(lambda client: client.get_user(token), self._read)
        except Refused as refused:
            if refused.provider_status in (400, 401, 403, 404):
                raise TokenExpired from None
            raise
        if response is None:
            raise TokenExpired
        return _user(response.user)

    async def sign_out(self, token: str) -> None:
        """Ends the one session that `token` belongs to; one that is gone already is no error."""
        try:
            await self._ask(lambda client: client.admin.sign_out(token, "local"))
        except Refused as refused:
            if refused.provider_status not in (401, 403, 404):
                raise

    async def recover(self, email: str, redirect_to: str) -> None:
        """Has a mail with a link sent to an address that has an account; silent about others.

        What became of it is not told, because that is different for people who have an account:
        only they have a limit of mails, or a mail server that fails. Raises ServiceUnavailable when
        the provider does not answer to anybody.
        """
        try:
            await self._once.call(
                lambda: self._send(
                    "POST", "/recover", {"email": email}, params={"redirect_to": redirect_to}
                )
            )
        except ServiceAuthError:
            raise
        except AppError as error:
            structlog.get_logger(__name__).warning("no mail for recovery", failure=error.code)
            with suppress(Refused, RateLimited):  # then it is there
                await self._read.call(lambda: self._send("GET", "/health"))

    async def change_password(self, token: str, password: str) -> None:
        """The password of the owner of an access token, whose other sessions end.

        Raises TokenExpired, PasswordRefused.
        """
        try:
            await self._once.call(
                lambda: self._send("PUT", "/user", {"password": password}, token=token)
            )
        except Refused as refused:
            if refused.provider_status in (401, 403, 404):
                raise TokenExpired from None
            if refused.provider_code == "same_password":
                raise PasswordRefused("Please choose a password you have not used") from None
            if refused.provider_status in (400, 422):
                raise PasswordRefused("Please choose a stronger password") from None
            raise

    async def admin_delete_user(self, user_id: UUID) -> None:
        """Deletes an account, with the service key; one that is gone already is no error."""
        try:
            await self._ask(
                lambda client: client.admin.delete_user(str(user_id)), key=self._service_role_key
            )
        except Refused as refused:
            if refused.provider_status in (401, 403):
                raise ServiceAuthError from None
            if refused.provider_status != 404:
                raise

    async def signing_keys(self) -> Sequence[Mapping[str, Any]]:
        """The entries of the project's JWKS; none for a project that signs with a secret."""
        http = await self._connections()

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

        return await self._read.call(fetch)

    async def _sign_up(self, email: str, password: str, name: str) -> SignedUp:
        try:
            response = await self._ask(
                lambda client: client.sign_up(
                    {"email": email, "password": password, "options": {"data": {"name": name}}}
                )
            )
        except Refused as refused:
            if refused.provider_code in ("user_already_exists", "email_exists"):
                raise AccountExists from None
            raise
        if response.user is None:
            raise ServiceError
        session = None if response.session is None else _session(response.session)
        return SignedUp(_user(response.user), session)

    async def _ask(
        self,
        operation: Callable[[AsyncGoTrueClient], Awaitable[T]],
        policy: RetryPolicy | None = None,
        *,
        key: Secret | None = None,
    ) -> T:
        """One operation on a client of its own, with the library's exceptions turned into ours.

        They are not chained: their frames and texts hold passwords and tokens.
        """
        http = await self._connections()
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
            except ValueError:  # an answer that is not of the documented shape
                failure = ServiceError()
            raise failure

        began = trio.current_time()
        try:
            return await (policy or self._once).call(once)
        except ServiceUnavailable as error:
            structlog.get_logger(__name__).warning(
                "identity provider does not answer",
                kind=type(error).__name__,
                seconds=round(trio.current_time() - began, 3),
            )
            raise

    async def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> None:
        """One request that the library has no way for without a stored session.

        Raises what `_ask` does, and Refused with GoTrue's code.
        """
        http = await self._connections()
        import httpx

        headers = {"apikey": self._anon_key.reveal()}
        headers["Authorization"] = f"Bearer {token or self._anon_key.reveal()}"
        try:
            answer = await http.request(
                method, f"{self._url}{path}", json=content, params=params, headers=headers
            )
        except httpx.HTTPError:
            raise ServiceUnavailable from None
        failure = failure_of(answer)
        if failure is not None:
            raise failure

    async def _connections(self) -> httpx.AsyncClient:
        if self._http is None:
            async with self._opening:
                if self._http is None:
                    self._http = await trio.to_thread.run_sync(_new_connections)
        return self._http


def _new_connections() -> httpx.AsyncClient:
    """Runs in a thread: the imports take 0.5 s, reading the certificates some milliseconds."""
    import httpx
    import supabase_auth as _  # noqa: F401 - for its side effect of being imported

    # Waiting is bounded by the callers' cancel scopes; these limits are per step, as a net.
    return httpx.AsyncClient(
        verify=trusted(),
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
