"""`cookcam check-env --connect`: logs in to every configured service, and changes nothing.

All checks run at the same time, each within `CHECK_TIMEOUT`. A report has only fixed text, names of
roles and migrations, and kinds of errors: no value, no address and no text of a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import trio
from attrs import frozen

from cookcam.app.clients import (
    Breakers,
    app_store_settings,
    open_google_play,
    open_identity,
    open_openai,
    open_push,
    open_redis,
    open_storage,
    open_stripe,
    open_usda,
)
from cookcam.config import Config
from cookcam.database.actors import ANONYMOUS, SERVICE
from cookcam.database.connecting import connect
from cookcam.database.migrate import MigrationError, pending
from cookcam.errors import AppError, RateLimited, ServiceAuthError, ServiceUnavailable
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.provider_calls import ProviderMisconfigured, StoreRejected
from cookcam.integrations.push import Expo, PushMessage, PushProvider
from cookcam.integrations.supabase.storage import BUCKETS
from cookcam.integrations.trust import trusted
from cookcam.integrations.usda import QuotaExhausted
from cookcam.observability.metrics import Metrics

CHECK_TIMEOUT = 15.0
"""Seconds for one service, the import of its library included."""

UNKNOWN_ID = "0" * 64
"""A purchase or device that no service has: a response that says so means our key was accepted."""

ROLES = (ANONYMOUS.database_role, "authenticated", SERVICE.database_role)

State: TypeAlias = Literal["ok", "failed", "not set"]
Check: TypeAlias = Callable[[Config], Awaitable[str]]


class CheckFailed(Exception):
    """The service responded, but the server cannot work with it. The text has no values."""


class NotConfigured(Exception):
    """The service is not configured."""


@frozen
class Connection:
    """The result of one check."""

    service: str
    state: State
    detail: str

    def __str__(self) -> str:
        return f"{self.state:<8} {self.service:<30} {self.detail}"


async def try_connections(config: Config) -> list[Connection]:
    """Check every service; results in the order of `CHECKS`. Never raises for a failing service."""
    results: dict[str, Connection] = {}

    async def run(service: str, check: Check) -> None:
        results[service] = await _check(service, check, config)

    async with trio.open_nursery() as nursery:
        for service, check in CHECKS.items():
            nursery.start_soon(run, service, check)
    return [results[service] for service in CHECKS]


async def _check(service: str, check: Check, config: Config) -> Connection:
    state: State = "failed"
    detail = f"no answer within {CHECK_TIMEOUT:g} s"
    with trio.move_on_after(CHECK_TIMEOUT):
        try:
            detail = await check(config)
            state = "ok"
        except NotConfigured:
            state, detail = "not set", "not configured"
        except CheckFailed as failed:
            detail = str(failed)
        except (ServiceAuthError, ProviderMisconfigured):
            detail = "our key is refused"
        except (RateLimited, QuotaExhausted):
            state, detail = "ok", "answers, but our quota is used up"
        except ServiceUnavailable:
            detail = "does not answer"
        except AppError as error:
            detail = f"answers with an error ({error.code})"
        except Exception as error:  # of a library; its text may contain an address
            detail = f"cannot be used ({type(error).__name__})"
    return Connection(service, state, detail)


async def _database(config: Config) -> str:
    url = config.database.url.reveal()
    await _log_in(url)
    try:
        missing = await pending(url)
    except MigrationError:
        raise CheckFailed("the record of migrations cannot be read, or a file changed") from None
    if missing:
        raise CheckFailed(f"logged in; pending migrations: {', '.join(missing)}")
    return f"logged in, may act as {', '.join(ROLES)}; the schema is up to date"


async def _log_in(url: str) -> None:
    """Connects and takes each role of the server. Raises CheckFailed."""
    import psycopg

    try:
        connection = await connect(url)
    except psycopg.OperationalError as error:
        raise CheckFailed(_reason(str(error))) from None
    async with connection:
        for role in ROLES:
            try:
                await connection.execute(f"set role {role}".encode())
            except psycopg.Error:
                raise CheckFailed(f"logged in, but may not act as {role}") from None


def _reason(message: str) -> str:
    """The reason of a libpq connection error, without the address and the login in its message."""
    reasons = {
        "authentication failed": "the login is refused",
        "no password supplied": "the login needs a password",
        "does not exist": "the database or the login does not exist",
        "certificate": "the server's certificate is not trusted",
        "SSL": "the server does not speak TLS as sslmode demands",
        "resolve": "its host is unknown",
        "too many": "it has no connection free",
    }
    return next((reason for mark, reason in reasons.items() if mark in message), "does not answer")


async def _migrations(config: Config) -> str:
    import psycopg

    if config.database.migration_url is None:
        raise NotConfigured
    try:
        connection = await connect(config.database.migration_url.reveal())
    except psycopg.OperationalError as error:
        raise CheckFailed(_reason(str(error))) from None
    async with connection:
        cursor = await connection.execute(
            "select has_database_privilege(current_database(), 'CREATE')"
        )
        if await cursor.fetchone() != (True,):
            raise CheckFailed("logged in, but may not create schemas")
    return "logged in, may migrate"


async def _redis(config: Config) -> str:
    async with open_redis(config) as redis:
        if redis is None:
            raise NotConfigured
        await redis.ping()
    return "logged in"


async def _auth(config: Config) -> str:
    import httpx

    verify = await trio.to_thread.run_sync(trusted)
    async with httpx.AsyncClient(verify=verify, timeout=CHECK_TIMEOUT) as http:
        try:
            response = await http.get(
                f"{config.identity.supabase_url}/auth/v1/settings",
                headers={"apikey": config.identity.anon_key.reveal()},
            )
        except httpx.HTTPError:
            raise ServiceUnavailable from None
    if response.status_code in (401, 403):
        raise ServiceAuthError
    if response.status_code != 200:
        raise CheckFailed(f"answers {response.status_code}")
    async with open_identity(config, Breakers()) as identity:
        keys = await identity.signing_keys()
    if not keys and config.identity.jwt_secrets is None:
        raise CheckFailed("has no public keys, and JWT_SECRET is not set: no token can be verified")
    return f"SUPABASE_ANON_KEY is accepted; public keys: {len(keys)}"


async def _storage(config: Config) -> str:
    async with open_storage(config, Breakers()) as storage:
        for bucket in BUCKETS:
            await storage.list(bucket, "check-env")
    return "SUPABASE_SERVICE_ROLE_KEY is accepted"


async def _openai(config: Config) -> str:
    async with open_openai(config, Metrics(), Breakers()) as openai:
        await openai.reachable()
    return "OPENAI_API_KEY is accepted"


async def _usda(config: Config) -> str:
    async with open_usda(config, Breakers()) as usda:
        await usda.reachable()
    return "answers" if config.providers.usda_api_key else "answers DEMO_KEY"


async def _stripe(config: Config) -> str:
    async with open_stripe(config, Breakers()) as stripe:
        if stripe is None:
            raise NotConfigured
        await stripe.list_undelivered_events(limit=1)
    return "STRIPE_SECRET_KEY is accepted"


async def _app_store(config: Config) -> str:
    settings = app_store_settings(config)
    if not (settings.private_key and settings.key_id and settings.issuer_id):
        raise NotConfigured
    async with AppStore.open(settings) as store:
        with suppress(StoreRejected):
            await store.subscription("1", "production")
    return "APPLE_API_PRIVATE_KEY is accepted"


async def _google_play(config: Config) -> str:
    if config.providers.google_service_account_key is None:
        raise NotConfigured
    async with open_google_play(config, Breakers()) as store:
        with suppress(StoreRejected):
            await store.subscription(UNKNOWN_ID, lambda product: False)
    return "GOOGLE_SERVICE_ACCOUNT_KEY is accepted"


async def _expo(config: Config) -> str:
    async with open_push(config, Breakers()) as services:
        if not isinstance(expo := services.get("expo"), Expo):
            raise NotConfigured
        await expo.receipts([UNKNOWN_ID])
    return "our requests are accepted"


def _push(provider: PushProvider) -> Check:
    async def check(config: Config) -> str:
        async with open_push(config, Breakers()) as services:
            if provider not in services:
                raise NotConfigured
            now = datetime.now(UTC)
            nothing = PushMessage(UNKNOWN_ID, "check-env", "", "", {}, "default", now)
            (outcome,) = await services[provider].send([nothing])
        if outcome.verdict == "refused":
            raise CheckFailed(f"refuses our messages ({outcome.reason})")
        return "our key is accepted"

    return check


CHECKS: dict[str, Check] = {
    "database": _database,
    "database for migrations": _migrations,
    "redis": _redis,
    "supabase auth": _auth,
    "supabase storage": _storage,
    "openai": _openai,
    "usda": _usda,
    "stripe": _stripe,
    "app store": _app_store,
    "google play": _google_play,
    "push (expo)": _expo,
    "push to android (fcm)": _push("fcm"),
    "push to ios (apns)": _push("apns"),
}
