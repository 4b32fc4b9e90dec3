"""The clients of the outside services: the database and Sentry are opened elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from uuid import UUID

import structlog
from attrs import field, frozen

from cookcam.config import Config
from cookcam.errors import AppError
from cookcam.identity import AccountStates, Authenticator
from cookcam.identity.keys import KeySet
from cookcam.integrations.app_store import AppStore, AppStoreSettings, Endpoints
from cookcam.integrations.circuit_breaker import CircuitBreaker, Outcome
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.mail import MailService, Resend, Smtp, SmtpSettings
from cookcam.integrations.openai import OpenAI
from cookcam.integrations.pause import Backoff
from cookcam.integrations.provider_calls import ProviderCallPolicy, ProviderMisconfigured
from cookcam.integrations.push import Apns, ApnsKey, Expo, Fcm, PushProvider, PushService
from cookcam.integrations.redis import Redis
from cookcam.integrations.redis_windows import MAX_RETRY_DELAY, RETRY_DELAY, RedisWindows
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.integrations.supabase.storage import Storage
from cookcam.integrations.usda import QuotaExhausted, Usda
from cookcam.observability.metrics import Metrics

EXPO_URL = "https://exp.host"


@frozen
class Clients:
    """The client of each outside service, and the authenticator that reads keys from one of them.

    `stripe`, `mail` and `redis` are None where they are not configured; `push` holds the configured
    push services. `push_keys` are the keys with which Google signs its notifications.
    """

    identity: SupabaseAuth
    authenticator: Authenticator
    storage: Storage
    usda: Usda
    openai: OpenAI
    stripe: Stripe | None
    app_store: AppStore
    google_play: GooglePlay
    push_keys: KeySet
    push: Mapping[PushProvider, PushService]
    mail: MailService | None
    redis: Redis | None
    windows: RedisWindows | None
    """Rate limits in Redis."""
    breakers: Mapping[str, CircuitBreaker]
    """The circuit breaker of each configured service, by name."""


@asynccontextmanager
async def open_clients(
    config: Config,
    metrics: Metrics,
    account_states: AccountStates,
    *,
    denies_user: Callable[[UUID], bool] = lambda _: False,
) -> AsyncGenerator[Clients]:
    """Open all clients. No service has to be reachable yet. `denies_user` is the blocklist."""
    breakers = Breakers(metrics)
    async with (
        open_identity(config, breakers) as identity,
        open_storage(config, breakers) as storage,
        Authenticator.open(
            identity,
            supabase_url=config.identity.supabase_url,
            jwt_secrets=config.identity.jwt_secrets or (),
            metrics=metrics,
            accounts=account_states,
            denies_user=denies_user,
        ) as authenticator,
        open_usda(config, breakers) as usda,
        open_openai(config, metrics, breakers) as openai,
        open_stripe(config, breakers) as stripe,
        open_app_store(config, breakers) as app_store,
        open_google_play(config, breakers) as google_play,
        KeySet.open(google_play.push_keys) as push_keys,
        open_push(config, breakers) as push,
        open_mail(config, breakers) as mail,
        open_redis(config) as redis,
    ):
        structlog.get_logger("cookcam.assembly").info("Supabase clients initialized")
        yield Clients(
            identity=identity,
            authenticator=authenticator,
            storage=storage,
            usda=usda,
            openai=openai,
            stripe=stripe,
            app_store=app_store,
            google_play=google_play,
            push_keys=push_keys,
            push=push,
            mail=mail,
            redis=redis,
            windows=redis and redis_windows(redis, metrics, breakers),
            breakers=breakers.by_service,
        )


@frozen
class Breakers:
    """Makes the circuit breaker of each service, and measures the calls that pass it."""

    metrics: Metrics | None = None
    by_service: dict[str, CircuitBreaker] = field(factory=dict[str, CircuitBreaker], init=False)

    def add(
        self, service: str, *responses: type[AppError], backoff: Backoff | None = None
    ) -> CircuitBreaker:
        """`responses` are errors that mean that the service did respond; see CircuitBreaker."""
        breaker = self.by_service[service] = CircuitBreaker(service, responses)
        if backoff is not None:
            breaker.backoff = backoff
        if self.metrics is not None:
            requests = self.metrics.provider_requests_total
            duration = self.metrics.provider_duration_seconds.of(service)

            def observe(outcome: Outcome, seconds: float) -> None:
                requests.of(service, outcome).inc()
                if outcome != "not_attempted":
                    duration.observe(seconds)

            breaker.observe = observe
            state = self.metrics.provider_circuit_open.of(service)
            state.set_function(lambda: breaker.state != "closed")
        return breaker

    def calls(self, service: str) -> ProviderCallPolicy:
        """The policy for calls of an app store or a push service."""
        return ProviderCallPolicy(breaker=self.add(service, ProviderMisconfigured))


def open_identity(config: Config, breakers: Breakers) -> AbstractAsyncContextManager[SupabaseAuth]:
    return SupabaseAuth.open(
        supabase_url=config.identity.supabase_url,
        anon_key=config.identity.anon_key,
        service_role_key=config.identity.service_role_key,
        breaker=breakers.add("supabase_auth"),
    )


def open_storage(config: Config, breakers: Breakers) -> AbstractAsyncContextManager[Storage]:
    return Storage.open(
        supabase_url=config.identity.supabase_url,
        service_role_key=config.identity.service_role_key,
        breaker=breakers.add("supabase_storage"),
    )


def open_usda(config: Config, breakers: Breakers) -> AbstractAsyncContextManager[Usda]:
    return Usda.open(
        base_url=config.providers.usda_api_base_url,
        api_key=config.providers.usda_api_key,
        breaker=breakers.add("usda", QuotaExhausted),
    )


def open_openai(
    config: Config, metrics: Metrics, breakers: Breakers
) -> AbstractAsyncContextManager[OpenAI]:
    return OpenAI.open(
        api_key=config.providers.openai_api_key,
        base_url=config.providers.openai_base_url,
        model=config.providers.openai_model,
        concurrency=config.providers.openai_concurrency,
        metrics=metrics,
        breaker=breakers.add("openai"),
    )


@asynccontextmanager
async def open_stripe(config: Config, breakers: Breakers) -> AsyncGenerator[Stripe | None]:
    """None without STRIPE_SECRET_KEY."""
    if config.providers.stripe_secret_key is None:
        yield None
        return
    async with Stripe.open(
        secret_key=config.providers.stripe_secret_key,
        api_base=config.providers.stripe_api_base,
        breaker=breakers.add("stripe"),
    ) as stripe:
        yield stripe


def open_app_store(config: Config, breakers: Breakers) -> AbstractAsyncContextManager[AppStore]:
    return AppStore.open(app_store_settings(config), breakers.calls("app_store"))


def app_store_settings(config: Config) -> AppStoreSettings:
    stores = config.stores
    return AppStoreSettings(
        bundle_id=stores.apple_bundle_id,
        endpoints=Endpoints(
            stores.apple_verify_receipt_url,
            stores.apple_sandbox_verify_receipt_url,
            stores.apple_api_url,
            stores.apple_sandbox_api_url,
        ),
        app_apple_id=stores.apple_app_id,
        shared_secret=config.providers.apple_shared_secret,
        roots=stores.apple_root_certificates,
        issuer_id=stores.apple_issuer_id,
        key_id=stores.apple_key_id,
        private_key=stores.apple_private_key,
    )


def open_google_play(config: Config, breakers: Breakers) -> AbstractAsyncContextManager[GooglePlay]:
    return GooglePlay.open(
        api_url=config.stores.google_api_url,
        certs_url=config.stores.google_certs_url,
        package=config.providers.google_play_package_name,
        key=config.providers.google_service_account_key,
        calls=breakers.calls("google_play"),
    )


@asynccontextmanager
async def open_push(
    config: Config, breakers: Breakers
) -> AsyncGenerator[Mapping[PushProvider, PushService]]:
    """Expo, FCM for Android and APNs for iOS, each if it is configured."""
    push, services = config.push, dict[PushProvider, PushService]()
    expo_url = push.expo_url or (EXPO_URL if config.deployed else None)
    async with AsyncExitStack() as stack:
        if expo_url:
            services["expo"] = await stack.enter_async_context(
                Expo.open(
                    url=expo_url,
                    access_token=push.expo_access_token,
                    calls=breakers.calls("expo"),
                )
            )
        if push.fcm_account_key:
            services["fcm"] = await stack.enter_async_context(
                Fcm.open(
                    api_url=push.fcm_api_url,
                    key=push.fcm_account_key,
                    calls=breakers.calls("fcm"),
                )
            )
        if push.apns_private_key and push.apns_key_id and push.apns_team_id:
            key = ApnsKey(push.apns_private_key, push.apns_key_id, push.apns_team_id)
            services["apns"] = await stack.enter_async_context(
                Apns.open(
                    url=push.apns_url,
                    topic=config.stores.apple_bundle_id,
                    key=key,
                    calls=breakers.calls("apns"),
                )
            )
        log = structlog.get_logger("cookcam.assembly")
        if services:
            log.info("push notifications", providers=sorted(services))
        else:
            log.info("push notifications are disabled: no service is configured")
        yield services


@asynccontextmanager
async def open_mail(config: Config, breakers: Breakers) -> AsyncGenerator[MailService | None]:
    """Resend or SMTP; None without RESEND_API_KEY and SMTP_HOST."""
    mail = config.mail
    if mail.resend_api_key is not None:
        async with Resend.open(
            url=mail.resend_api_url,
            api_key=mail.resend_api_key,
            sender=mail.sender,
            sender_name=mail.sender_name,
            calls=breakers.calls("resend"),
        ) as resend:
            yield resend
        return
    if mail.host is None:
        structlog.get_logger("cookcam.assembly").info("mail is disabled: no service is configured")
        yield None
        return
    yield Smtp(
        SmtpSettings(
            mail.host,
            mail.port,
            mail.security,
            mail.user,
            mail.password,
            mail.sender,
            mail.sender_name,
        )
    )


@asynccontextmanager
async def open_redis(config: Config) -> AsyncGenerator[Redis | None]:
    """The Redis client that bus, cache and rate limits share; None without REDIS_URL."""
    if config.redis.url is None:
        yield None
        return
    async with Redis.open(config.redis.url.reveal()) as redis:
        yield redis


def redis_windows(redis: Redis, metrics: Metrics, breakers: Breakers) -> RedisWindows:
    breaker = breakers.add("redis_limits", backoff=Backoff(RETRY_DELAY, MAX_RETRY_DELAY))
    windows = RedisWindows(redis, breaker, metrics.rate_limit_fallbacks_total.inc)
    metrics.rate_limits_shared.set_function(lambda: windows.available)
    return windows
