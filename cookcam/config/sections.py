"""The settings of the program, by section; each field says which variable fills it.

`cookcam.config` reads the environment into these classes. A new setting is one field here; the
check at start, `cookcam check-env`, `.env.example` and the start-up summary follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from typing import Any, Literal, get_args

from attrs import NOTHING, field, frozen

from cookcam import __version__
from cookcam.config import addresses, keys, production, readers
from cookcam.config.readers import Network
from cookcam.config.secret import Secret

Environment = Literal["development", "test", "staging", "production"]

DEPLOYED: tuple[Environment, ...] = ("staging", "production")
"""The environments that have no fallback for any secret."""

EVERYWHERE: tuple[Environment, ...] = get_args(Environment)


SHUTDOWN_MARGIN = 10.0
"""Seconds for closing services after the drain (docs/shutdown.md)."""

RELEASE_PART = readers.pattern(
    r"[\w.+-]{1,100}", "must be up to 100 letters, digits and . + - _, as it names a release"
)
APP_ID = readers.pattern(
    r"[A-Za-z][\w-]*(\.[A-Za-z0-9][\w-]*)+", "must be an app's identifier such as com.example.app"
)
HOST_NAME = readers.pattern(r"[A-Za-z0-9.:-]{1,253}", "must be a host name or an IP address")
EMAIL_ADDRESS = readers.pattern(
    r"[\w.+-]{1,64}@[A-Za-z0-9.-]{1,253}", "must be an e-mail address, without a name"
)
KEY_ID = readers.pattern(r"[\w-]{1,64}", "must be up to 64 letters, digits, - and _")
MODEL_NAME = readers.pattern(r"[\w.:/-]{1,100}", "must be the name of a model, such as gpt-4o-mini")


def setting(
    name: str,
    *,
    default: Any = NOTHING,
    required: tuple[Environment, ...] = (),
    read: readers.Reader[Any] = readers.text,
    in_production: Callable[[Any], None] | None = None,
    aliases: tuple[str, ...] = (),
    about: str,
    source: str = "",
) -> Any:
    """A field filled from the environment variable `name`, or the first alias that is set.

    `read` turns the text into the value and raises InvalidSetting with the rule it breaks;
    `in_production` does the same for a value that only production refuses.
    `required` lists the environments that refuse to start without it. `source` says where an
    operator finds the value.
    """
    return field(
        default=default if default is not NOTHING or required == EVERYWHERE else None,
        metadata={
            "name": name,
            "aliases": aliases,
            "required": required,
            "read": read,
            "in_production": in_production,
            "about": about,
            "source": source,
        },
    )


@frozen
class ServerConfig:
    host: str = setting(
        "HOST", default="127.0.0.1", read=addresses.host, about="address to listen on"
    )
    port: int = setting(
        "PORT",
        default=3000,
        read=readers.integer(0, 65535),
        in_production=production.fixed_port,
        about="port to listen on",
    )
    version: str = setting(
        "APP_VERSION", default=__version__, read=RELEASE_PART, about="version in health answers"
    )
    commit: str | None = setting(
        "GIT_COMMIT_SHA",
        required=DEPLOYED,
        read=RELEASE_PART,
        about="commit of this release, part of the release name",
        source="set by the pipeline: git rev-parse HEAD",
    )
    base_url: str = setting(
        "APP_BASE_URL",
        default="https://cookcam.ai",
        required=DEPLOYED,
        read=addresses.url("https", "http"),
        aliases=("APP_URL",),
        in_production=production.public_https,
        about="public address of the website, for links",
    )
    api_base_url: str = setting(
        "API_BASE_URL",
        default="https://api.cookcam.ai",
        read=addresses.url("https", "http"),
        in_production=production.public_https,
        about="public address of this server: where Stripe sends creators back to the app",
    )
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGIN",
        default=("http://localhost:8081",),
        required=DEPLOYED,
        read=addresses.cors_origins,
        in_production=production.public_origins,
        about="comma list of origins that may call the API, such as"
        " https://cookcam.ai,capacitor://localhost; production refuses http:// ones, this default"
        " among them",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES",
        default=(),
        required=DEPLOYED,
        read=addresses.networks,
        in_production=production.narrow_networks,
        about="comma list of networks whose X-Forwarded-For counts, such as 127.0.0.1/32",
        source="the addresses of your nginx",
    )
    internal_api_keys: tuple[Secret, ...] | None = setting(
        "INTERNAL_API_KEY",
        read=readers.header_secrets(minimum=32),
        about="opens detailed health and metrics, sent as X-API-Key; a comma list while it is"
        " replaced",
        source="make one: openssl rand -hex 32",
    )
    state_directory: str | None = setting(
        "STATE_DIRECTORY",
        about="folder for a file that says how the previous run ended, for the metrics; systemd"
        " sets it",
    )
    tls_cert_file: str | None = setting(
        "TLS_CERT_FILE", about="certificate chain to serve TLS directly, without a proxy"
    )
    tls_key_file: str | None = setting("TLS_KEY_FILE", about="private key of TLS_CERT_FILE")
    pm2_channel: int | None = setting(
        "NODE_CHANNEL_FD",
        read=readers.integer(0, 65535),
        about="set by PM2, not by hand: the descriptor for its ready message",
    )
    keep_alive_seconds: float = setting(
        "KEEP_ALIVE_SECONDS",
        default=75.0,
        read=readers.number(1, 3600),
        about="idle time of a kept-alive connection; longer than the proxy's",
    )
    max_connections_per_address: int = setting(
        "MAX_CONNECTIONS_PER_ADDRESS",
        default=2000,
        read=readers.integer(0, 1_000_000),
        about="open connections of one address; TRUSTED_PROXIES have no limit, 0 is none at all",
    )
    request_timeout: float = setting(
        "REQUEST_TIMEOUT_SECONDS",
        default=25.0,
        read=readers.number(0.1, 600),
        about="a request that takes longer is answered 504",
    )


@frozen
class LimitsConfig:
    enabled: bool = setting(
        "ENABLE_RATE_LIMITING",
        default=True,
        read=readers.boolean,
        in_production=production.switched_on,
        about="count requests per client; refused as false in production",
    )
    window_ms: int = setting(
        "RATE_LIMIT_WINDOW_MS",
        default=60_000,
        read=readers.integer(1, 86_400_000),
        about="window of the general limit, milliseconds",
    )
    max_requests: int = setting(
        "RATE_LIMIT_MAX_REQUESTS",
        default=100,
        read=readers.integer(1, 1_000_000_000),
        about="requests per window and client",
    )
    auth_window_ms: int = setting(
        "RATE_LIMIT_AUTH_WINDOW_MS",
        default=900_000,
        read=readers.integer(1, 86_400_000),
        about="window of the sign-in limit, milliseconds",
    )
    auth_max_requests: int = setting(
        "RATE_LIMIT_AUTH_MAX_REQUESTS",
        default=20,
        read=readers.integer(1, 1_000_000_000),
        about="sign-ins, sign-ups and refreshes per window and client",
    )


@frozen
class DrainConfig:
    """Seconds of the shutdown phases; see docs/shutdown.md."""

    notice: float = setting(
        "DRAIN_NOTICE_SECONDS",
        default=0.0,
        read=readers.number(0, 3600),
        about="time between the notice to clients and the closing of the door",
    )
    linger: float = setting(
        "DRAIN_LINGER_SECONDS",
        default=2.0,
        read=readers.number(0, 600),
        about="idle connections are left to the proxy this long; longer than its keep-alive",
    )
    timeout: float = setting(
        "DRAIN_TIMEOUT_SECONDS",
        default=30.0,
        read=readers.number(0.001, 3600),
        about="bound of the whole drain; below KILL_TIMEOUT_SECONDS",
    )
    kill_timeout: float = setting(
        "KILL_TIMEOUT_SECONDS",
        default=40.0,
        read=readers.number(1, 7200),
        about="time between the signal to stop and SIGKILL: PM2's kill_timeout,"
        " TimeoutStopSec of systemd",
    )

    @property
    def max_seconds(self) -> float:
        """Seconds from the signal to the end of the process, at most."""
        return self.notice + self.timeout + SHUTDOWN_MARGIN


@frozen
class DatabaseConfig:
    url: Secret = setting(
        "DATABASE_URL",
        required=EVERYWHERE,
        read=addresses.database_url,
        about="PostgreSQL, direct connection",
        source="Supabase: Project Settings, Database",
    )
    migration_url: Secret | None = setting(
        "MIGRATION_DATABASE_URL",
        read=addresses.database_url,
        about="login that owns the schema, for cookcam migrate; else DATABASE_URL",
    )
    backup_url: Secret | None = setting(
        "BACKUP_DATABASE_URL",
        read=addresses.database_url,
        about="login that reads all tables past row-level security, for backups; else"
        " MIGRATION_DATABASE_URL, else DATABASE_URL",
    )
    tools_directory: str | None = setting(
        "POSTGRES_TOOLS_DIRECTORY",
        read=readers.directory,
        about="folder of pg_dump and pg_restore, not older than the server; else PATH",
    )
    pool_min: int = setting(
        "DB_POOL_MIN",
        default=5,
        read=readers.integer(0, 1000),
        about="connections kept open",
    )
    pool_max: int = setting(
        "DB_POOL_MAX",
        default=20,
        read=readers.integer(1, 1000),
        about="connections at most; never below DB_POOL_MIN",
    )

    @property
    def owner_url(self) -> Secret:
        """The login that owns the schema."""
        return self.migration_url or self.url

    @property
    def dump_url(self) -> Secret:
        """The login that backups read with."""
        return self.backup_url or self.owner_url


@frozen
class RedisConfig:
    """Optional; shared by the bus between instances, the cache and rate limits."""

    url: Secret | None = setting(
        "REDIS_URL",
        read=addresses.redis_url,
        about="Redis, such as redis://:password@host:6379/0; redis+cluster://a:6379,b:6379",
        source="your Redis; REDIS_HOST, REDIS_PORT, REDIS_PASSWORD and REDIS_DB are read too",
    )


@frozen
class IdentityConfig:
    supabase_url: str = setting(
        "SUPABASE_URL",
        required=EVERYWHERE,
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of the Supabase project",
        source="Supabase: Project Settings, API",
    )
    anon_key: Secret = setting(
        "SUPABASE_ANON_KEY",
        required=EVERYWHERE,
        read=readers.header_secret(),
        about="public key of the project",
        source="Supabase: Project Settings, API",
    )
    service_role_keys: tuple[Secret, ...] = setting(
        "SUPABASE_SERVICE_ROLE_KEY",
        required=EVERYWHERE,
        read=readers.header_secrets(),
        aliases=("SUPABASE_SERVICE_KEY",),
        about="administrative key of the project; a comma list after it was replaced: the first is"
        " used, the others recognise what was hashed with them",
        source="Supabase: Project Settings, API",
    )
    jwt_secrets: tuple[Secret, ...] | None = setting(
        "JWT_SECRET",
        required=DEPLOYED,
        read=readers.long_secrets(minimum=32),
        about="verifies HS256 access tokens of the project locally; a comma list while it is"
        " replaced",
        source="Supabase: Project Settings, API, JWT secret",
    )
    jwt_refresh_secret: Secret | None = setting(
        "JWT_REFRESH_SECRET",
        required=DEPLOYED,
        read=readers.secret(minimum=32),
        about="demanded of deployments for compatibility; signs nothing",
        source="make one: openssl rand -hex 32",
    )

    @property
    def service_role_key(self) -> Secret:
        """The key that is sent to the project."""
        return self.service_role_keys[0]

    @property
    def receipt_secrets(self) -> tuple[Secret, ...]:
        """The secrets of account deletions; the first is current."""
        return self.jwt_secrets or self.service_role_keys


@frozen
class RealtimeConfig:
    enabled: bool = setting(
        "ENABLE_WEBSOCKETS", default=True, read=readers.boolean, about="serve sockets at all"
    )
    bus: Literal["local", "postgres", "redis"] | None = setting(
        "REALTIME_BUS",
        read=readers.choice("local", "postgres", "redis"),
        about="what joins instances: postgres, redis or, for a single one, local; "
        "else redis with REDIS_URL, postgres without",
    )
    max_per_user: int = setting(
        "SOCKET_MAX_PER_USER",
        default=5,
        read=readers.integer(1, 1_000_000),
        about="open sockets per user; the oldest is closed beyond it",
    )
    handshakes_per_minute: int = setting(
        "SOCKET_HANDSHAKES_PER_MINUTE",
        default=60,
        read=readers.integer(1, 1_000_000_000),
        about="socket handshakes per client address and minute",
    )
    events_per_second: int = setting(
        "SOCKET_EVENTS_PER_SECOND",
        default=20,
        read=readers.integer(1, 1_000_000_000),
        about="events per user and second, in bursts of twice as many",
    )
    broadcasts_per_minute: int = setting(
        "SOCKET_BROADCASTS_PER_MINUTE",
        default=6,
        read=readers.integer(1, 1_000_000_000),
        about="events to everybody per user and minute",
    )
    messages_per_second: int = setting(
        "SOCKET_MESSAGES_PER_SECOND",
        default=5,
        read=readers.integer(1, 1_000_000_000),
        about="messages in cooking sessions per user and second",
    )
    reactions_per_minute: int = setting(
        "SOCKET_REACTIONS_PER_MINUTE",
        default=60,
        read=readers.integer(1, 1_000_000_000),
        about="likes and comments in the live feed per user and minute",
    )
    collab_requests_per_minute: int = setting(
        "SOCKET_COLLAB_REQUESTS_PER_MINUTE",
        default=10,
        read=readers.integer(1, 1_000_000_000),
        about="requests to cook together per user and minute",
    )
    collab_requests_per_target: int = setting(
        "SOCKET_COLLAB_REQUESTS_PER_TARGET",
        default=3,
        read=readers.integer(1, 1_000_000_000),
        about="requests to cook together per user, person asked and hour",
    )
    recovery: float = setting(
        "SOCKET_RECOVERY_SECONDS",
        default=120.0,
        read=readers.number(0, 3600),
        about="a Socket.IO client that asks to may return this long after a drop and get what"
        " it missed; 0: never",
    )
    host_grace: float = setting(
        "HOST_GRACE_SECONDS",
        default=60.0,
        read=readers.number(0, 3600),
        about="a host may be away this long before the cooking session ends; 0 ends it at once",
    )
    open_join: bool = setting(
        "COOKING_SESSION_OPEN_JOIN",
        default=False,
        read=readers.boolean,
        about="the id of a cooking session is enough to join it, public or not",
    )
    ping_interval: float = setting(
        "SOCKET_PING_INTERVAL_SECONDS",
        default=25.0,
        read=readers.number(0.1, 3600),
        about="time between heartbeats",
    )
    ping_timeout: float = setting(
        "SOCKET_PING_TIMEOUT_SECONDS",
        default=20.0,
        read=readers.number(0.1, 3600),
        about="time to answer a heartbeat",
    )
    compression: bool = setting(
        "SOCKET_COMPRESSION",
        default=False,
        read=readers.boolean,
        about="compresses the messages of WebSockets that ask for it; costs time, memory and the"
        " fast way to many",
    )


@frozen
class ObservabilityConfig:
    log_level: Literal["error", "warn", "info", "debug"] = setting(
        "LOG_LEVEL",
        default="info",
        read=readers.choice("error", "warn", "info", "debug"),
        about="error, warn, info or debug",
    )
    sentry_dsn: Secret | None = setting(
        "SENTRY_DSN",
        required=DEPLOYED,
        read=addresses.sentry_dsn,
        in_production=production.secret_remote_https,
        about="where error reports go",
        source="Sentry: Project Settings, Client Keys",
    )
    otlp_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        read=addresses.url("https", "http"),
        about="OpenTelemetry collector for traces over HTTP, such as http://localhost:4318; without"
        " it nothing is traced",
    )
    otlp_headers: Secret | None = setting(
        "OTEL_EXPORTER_OTLP_HEADERS",
        read=readers.header_secret(),
        about="headers for the collector, such as api-key=…, separated by commas",
    )
    trace_ratio: float = setting(
        "OTEL_TRACES_SAMPLER_ARG",
        default=1.0,
        read=readers.number(0, 1),
        about="share of the traces that is recorded, 0 to 1",
    )
    service_name: str = setting(
        "OTEL_SERVICE_NAME", default="cookcam", read=readers.text, about="service name of traces"
    )


@frozen
class ProvidersConfig:
    """Credentials of outside services, validated at start so that none is missing later."""

    openai_api_key: Secret = setting(
        "OPENAI_API_KEY",
        required=EVERYWHERE,
        read=readers.header_secret(),
        in_production=production.real_secret,
        about="vision and recipes",
        source="https://platform.openai.com/api-keys",
    )
    openai_base_url: str = setting(
        "OPENAI_BASE_URL",
        default="https://api.openai.com/v1",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of the OpenAI API, version included",
    )
    openai_model: str = setting(
        "OPENAI_MODEL",
        default="gpt-4o-mini",
        read=MODEL_NAME,
        about="model for recipes and vision; it has to know structured output and images",
        source="https://platform.openai.com/docs/models",
    )
    openai_concurrency: int = setting(
        "OPENAI_CONCURRENCY",
        default=16,
        read=readers.integer(1, 1000),
        about="requests to OpenAI at a time; more wait their turn",
    )
    usda_api_key: Secret | None = setting(
        "USDA_API_KEY",
        read=readers.header_secret(),
        about="food data, 1,000 requests per hour; else DEMO_KEY, which has 30",
        source="https://fdc.nal.usda.gov/api-key-signup.html",
    )
    usda_api_base_url: str = setting(
        "USDA_API_BASE_URL",
        default="https://api.nal.usda.gov/fdc/v1",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of USDA FoodData Central, version included",
    )
    stripe_secret_key: Secret | None = setting(
        "STRIPE_SECRET_KEY",
        required=DEPLOYED,
        read=readers.header_secret(),
        about="payments; a live key in production and only there",
        source="Stripe: Developers, API keys",
    )
    stripe_webhook_secrets: tuple[Secret, ...] | None = setting(
        "STRIPE_WEBHOOK_SECRET",
        required=DEPLOYED,
        read=readers.secrets,
        in_production=production.real_secrets,
        about="verifies Stripe's events; a comma list while a secret is replaced",
        source="Stripe: Developers, Webhooks",
    )
    stripe_connect_webhook_secrets: tuple[Secret, ...] | None = setting(
        "STRIPE_CONNECT_WEBHOOK_SECRET",
        read=readers.secrets,
        in_production=production.real_secrets,
        about="the same of connected accounts; else STRIPE_WEBHOOK_SECRET",
        source="Stripe: Developers, Webhooks",
    )
    stripe_api_base: str = setting(
        "STRIPE_API_BASE",
        default="https://api.stripe.com",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of the Stripe API, without a version",
    )
    apple_shared_secret: Secret | None = setting(
        "APPLE_SHARED_SECRET",
        required=DEPLOYED,
        read=readers.secret(),
        aliases=("APP_STORE_SHARED_SECRET",),
        about="App Store receipts",
        source="App Store Connect: App Information",
    )
    google_service_account_key: Secret | None = setting(
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        required=DEPLOYED,
        read=keys.service_account,
        in_production=production.real_account,
        about="Google Play purchases, the JSON text of the key",
        source="Google Cloud: Service accounts, Keys",
    )
    google_play_package_name: str = setting(
        "GOOGLE_PLAY_PACKAGE_NAME",
        default="com.abmccull.cookcamexpo",
        required=DEPLOYED,
        aliases=("ANDROID_PACKAGE_NAME",),
        read=APP_ID,
        about="package of the Android app",
    )


@frozen
class StoresConfig:
    """The app stores, besides the two secrets above; what is missing is answered 503."""

    allow_sandbox: bool = setting(
        "IAP_ALLOW_SANDBOX",
        default=False,
        read=readers.boolean,
        in_production=production.switched_off,
        about="test purchases of the stores entitle as well; refused as true in production",
    )
    receipt_keys: tuple[Secret, ...] | None = setting(
        "IAP_RECEIPT_KEY",
        read=readers.long_secrets(minimum=32),
        about="encrypts receipts kept for audits; without it none is kept; a comma list after it"
        " was replaced: the first encrypts, the others decrypt",
        source="make one: openssl rand -hex 32",
    )
    apple_fee_percent: int = setting(
        "APPLE_FEE_PERCENT",
        default=15,
        read=readers.integer(0, 100),
        about="what Apple keeps of a price; commissions are paid of the rest. 30 outside its"
        " Small Business Program",
    )
    google_play_fee_percent: int = setting(
        "GOOGLE_PLAY_FEE_PERCENT",
        default=15,
        read=readers.integer(0, 100),
        about="what Google keeps of a price, where it does not tell our revenue of an order",
    )
    apple_bundle_id: str = setting(
        "APPLE_BUNDLE_ID", default="com.cookcam.app", read=APP_ID, about="bundle id of the iOS app"
    )
    apple_app_id: int | None = setting(
        "APPLE_APP_ID",
        read=readers.integer(1, 10**17),
        about="Apple's number of the app, for signed transactions and notifications",
        source="App Store Connect: App Information, Apple ID",
    )
    apple_root_certificates: tuple[bytes, ...] = setting(
        "APPLE_ROOT_CERTIFICATES",
        default=(),
        read=keys.certificates,
        about="comma list of files with Apple's root certificates, DER or PEM",
        source="https://www.apple.com/certificateauthority, Apple Root CA - G3 and others",
    )
    apple_issuer_id: str | None = setting(
        "APPLE_API_ISSUER_ID",
        read=KEY_ID,
        about="issuer of the key of the App Store Server API",
        source="App Store Connect: Users and Access, Integrations",
    )
    apple_key_id: str | None = setting(
        "APPLE_API_KEY_ID", read=KEY_ID, about="id of the key of the App Store Server API"
    )
    apple_private_key: Secret | None = setting(
        "APPLE_API_PRIVATE_KEY",
        read=keys.es256_key,
        about="that key: the .p8 file's name, or its text with line breaks as \\n",
    )
    apple_verify_receipt_url: str = setting(
        "APPLE_VERIFY_RECEIPT_URL",
        default="https://buy.itunes.apple.com/verifyReceipt",
        read=addresses.url("https", "http"),
        in_production=production.real_service,
        about="where receipts are verified",
    )
    apple_sandbox_verify_receipt_url: str = setting(
        "APPLE_SANDBOX_VERIFY_RECEIPT_URL",
        default="https://sandbox.itunes.apple.com/verifyReceipt",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="the same of test purchases",
    )
    apple_api_url: str = setting(
        "APPLE_API_URL",
        default="https://api.storekit.apple.com",
        read=addresses.url("https", "http"),
        in_production=production.real_service,
        about="address of the App Store Server API",
    )
    apple_sandbox_api_url: str = setting(
        "APPLE_SANDBOX_API_URL",
        default="https://api.storekit-sandbox.apple.com",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="the same of test purchases",
    )
    google_api_url: str = setting(
        "GOOGLE_PLAY_API_URL",
        default="https://androidpublisher.googleapis.com",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of the Google Play API, without a version",
    )
    google_certs_url: str = setting(
        "GOOGLE_CERTS_URL",
        default="https://www.googleapis.com/oauth2/v3/certs",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="the keys that sign the tokens of pushed notifications",
    )
    google_push_audience: str | None = setting(
        "GOOGLE_PUSH_AUDIENCE",
        about="audience of the push subscription; without it notifications are answered 503",
        source="Google Cloud: Pub/Sub, Subscriptions, Authentication",
    )
    google_push_account: str | None = setting(
        "GOOGLE_PUSH_SERVICE_ACCOUNT",
        about="e-mail address of the service account the push subscription sends as",
        source="Google Cloud: Pub/Sub, Subscriptions, Authentication",
    )


@frozen
class PushConfig:
    """Push notifications; see docs/notifications.md. Only configured services are used."""

    expo_url: str | None = setting(
        "EXPO_PUSH_URL",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of Expo's push service, which the app's own tokens need; else"
        " https://exp.host in staging and production, and none in development",
    )
    expo_access_token: Secret | None = setting(
        "EXPO_ACCESS_TOKEN",
        read=readers.header_secret(minimum=16),
        about="required when enhanced push security is enabled for the Expo project",
        source="expo.dev: Account settings, Access tokens",
    )
    fcm_account_key: Secret | None = setting(
        "FCM_SERVICE_ACCOUNT_KEY",
        read=keys.firebase_account,
        in_production=production.real_account,
        about="notifications to Android: the JSON text of the key of a service account, or the name"
        " of its file",
        source="Firebase: Project settings, Service accounts",
    )
    fcm_api_url: str = setting(
        "FCM_API_URL",
        default="https://fcm.googleapis.com",
        read=addresses.url("https", "http"),
        in_production=production.remote_https,
        about="address of Firebase Cloud Messaging, without a version",
    )
    apns_key_id: str | None = setting(
        "APNS_KEY_ID",
        read=KEY_ID,
        about="notifications to iOS: id of the key for APNs",
        source="Apple Developer: Certificates, Identifiers & Profiles, Keys",
    )
    apns_team_id: str | None = setting(
        "APNS_TEAM_ID",
        read=KEY_ID,
        about="the team that key belongs to",
        source="Apple Developer: Membership",
    )
    apns_private_key: Secret | None = setting(
        "APNS_PRIVATE_KEY",
        read=keys.es256_key,
        about="that key: the .p8 file's name, or its text with line breaks as \\n",
    )
    apns_url: str = setting(
        "APNS_URL",
        default="https://api.push.apple.com",
        read=addresses.url("https", "http"),
        in_production=production.real_service,
        about="address of APNs; builds for development need https://api.sandbox.push.apple.com,"
        " which production refuses",
    )


@frozen
class MailConfig:
    """Mail; see docs/notifications.md. None is sent without SMTP_HOST and RESEND_API_KEY."""

    host: str | None = setting(
        "SMTP_HOST",
        read=HOST_NAME,
        about="the mail server; without it and RESEND_API_KEY no mail is sent",
    )
    port: int = setting("SMTP_PORT", default=587, read=readers.integer(1, 65535), about="its port")
    security: Literal["starttls", "tls", "none"] = setting(
        "SMTP_SECURITY",
        default="starttls",
        read=readers.choice("starttls", "tls", "none"),
        in_production=production.encrypted_mail,
        about="how the connection is encrypted: starttls (port 587), tls (port 465) or none, which"
        " production refuses",
    )
    user: str | None = setting("SMTP_USER", about="user name at the mail server")
    password: Secret | None = setting(
        "SMTP_PASS",
        read=readers.secret(),
        about="password of that user",
    )
    resend_api_key: Secret | None = setting(
        "RESEND_API_KEY",
        read=readers.secret(),
        about="sends mail through Resend's API instead of SMTP",
    )
    resend_api_url: str = setting(
        "RESEND_API_URL",
        default="https://api.resend.com",
        read=addresses.url("https", "http"),
        in_production=production.real_service,
        about="address of that API",
    )
    sender: str = setting(
        "EMAIL_FROM",
        default="noreply@cookcam.app",
        read=EMAIL_ADDRESS,
        about="the sender's address",
    )
    sender_name: str = setting("EMAIL_FROM_NAME", default="CookCam", about="the sender's name")


@frozen
class GenerationConfig:
    """Deadlines of the recipes a model writes; the app gives up after 60 seconds."""

    seconds: float = setting(
        "GENERATION_TIMEOUT_SECONDS",
        default=50.0,
        read=readers.number(0.1, 55),
        about="a generation that takes longer is answered 504 and stores nothing",
    )
    menu_seconds: float = setting(
        "GENERATION_MENU_TIMEOUT_SECONDS",
        default=120.0,
        read=readers.number(0.1, 170),
        about="the same for three complete recipes at once; below the proxy's 180",
    )


@frozen
class PaymentsConfig:
    """Where people go back to when they have paid by card."""

    checkout_allowed_origins: tuple[str, ...] = setting(
        "CHECKOUT_ALLOWED_ORIGINS",
        default=(),
        read=addresses.web_origins,
        in_production=production.public_origins,
        about="where a checkout may lead back to, a comma list; else the origin of APP_BASE_URL."
        " The app's own scheme cookcam:// always may",
    )


@frozen
class ReconciliationConfig:
    """Comparing subscriptions with their providers; see docs/reconciliation.md."""

    at: time | None = setting(
        "RECONCILIATION_TIME",
        default=time(2, 0),
        read=readers.time_of_day,
        about="when subscriptions are compared with their providers, daily, HH:MM in UTC; off: only"
        " when asked",
    )
    operations_api_keys: tuple[Secret, ...] | None = setting(
        "OPERATIONS_API_KEY",
        read=readers.header_secrets(minimum=32),
        about="starts and shows reconciliation besides administrators, sent as X-API-Key; a comma"
        " list while it is replaced",
        source="make one: openssl rand -hex 32",
    )


@frozen
class BackupsConfig:
    """Backups that the server makes; see docs/backups.md. Administrators may change all but the
    folder."""

    directory: str | None = setting(
        "BACKUP_DIRECTORY",
        read=readers.directory,
        about="folder for the backups that the server makes; without it, it makes none",
    )
    enabled: bool = setting(
        "BACKUP_ENABLED",
        default=False,
        read=readers.boolean,
        about="whether the server makes backups, at the frequency and when asked",
    )
    frequency: str = setting(
        "BACKUP_FREQUENCY",
        default="daily",
        read=readers.choice("daily", "weekly", "monthly"),
        about="how often: daily, weekly or monthly",
    )
    retention_days: int = setting(
        "BACKUP_RETENTION_DAYS",
        default=30,
        read=readers.integer(1, 3650),
        about="days after which a backup is deleted; the newest is kept",
    )
