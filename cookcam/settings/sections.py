"""The settings of the program, by section; each field says which variable fills it.

`cookcam.config` reads the environment into these classes. A new setting is one field here; the
check at start, `cookcam check-env`, `.env.example` and the start-up summary follow from it.
Source: `spec/operations.md` §1.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from attrs import NOTHING, field, frozen

from cookcam import __version__
from cookcam.settings import readers
from cookcam.settings.readers import Network, Secret

Environment = Literal["development", "test", "staging", "production"]

DEPLOYED: tuple[Environment, ...] = ("staging", "production")
"""The environments that have no fallback for any secret."""

EVERYWHERE: tuple[Environment, ...] = get_args(Environment)


def setting(
    name: str,
    *,
    default: Any = NOTHING,
    required: tuple[Environment, ...] = (),
    read: readers.Reader[Any] = readers.text,
    aliases: tuple[str, ...] = (),
    about: str,
    source: str = "",
) -> Any:
    """A field filled from the environment variable `name`, or the first alias that is set.

    `read` turns the text into the value and raises ValueError with the rule it breaks.
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
            "about": about,
            "source": source,
        },
    )


@frozen
class ServerConfig:
    host: str = setting("HOST", default="127.0.0.1", about="address to listen on")
    port: int = setting(
        "PORT", default=3000, read=readers.integer(0, 65535), about="port to listen on"
    )
    version: str = setting("APP_VERSION", default=__version__, about="version in health answers")
    commit: str | None = setting(
        "GIT_COMMIT_SHA",
        required=DEPLOYED,
        about="commit of this release, part of the release name",
        source="set by the pipeline: git rev-parse HEAD",
    )
    base_url: str = setting(
        "APP_BASE_URL",
        default="https://cookcam.ai",
        required=DEPLOYED,
        read=readers.url("https", "http"),
        aliases=("APP_URL",),
        about="public address of the website, for links",
    )
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGIN",
        default=("http://localhost:8081",),
        required=DEPLOYED,
        read=readers.origins,
        about="comma list of web origins that may call the API",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES",
        default=(),
        required=DEPLOYED,
        read=readers.networks,
        about="comma list of networks whose X-Forwarded-For counts, such as 127.0.0.1/32",
        source="the addresses of your nginx",
    )
    internal_api_key: Secret | None = setting(
        "INTERNAL_API_KEY",
        read=readers.secret(minimum=32),
        about="opens detailed health and metrics, sent as X-API-Key",
        source="make one: openssl rand -hex 32",
    )
    tls_cert_file: str | None = setting(
        "TLS_CERT_FILE", about="certificate chain to serve TLS directly, without a proxy"
    )
    tls_key_file: str | None = setting("TLS_KEY_FILE", about="private key of TLS_CERT_FILE")
    pm2_channel: int | None = setting(
        "NODE_CHANNEL_FD",
        read=readers.integer(0, 65535),
        about="set by PM2, not by hand: the descriptor that is told of readiness",
    )
    keep_alive_seconds: float = setting(
        "KEEP_ALIVE_SECONDS",
        default=75.0,
        read=readers.number(1, 3600),
        about="idle time of a kept-alive connection; longer than the proxy's",
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
        about="bound of the whole drain; below PM2's kill_timeout",
    )


@frozen
class DatabaseConfig:
    url: Secret = setting(
        "DATABASE_URL",
        required=EVERYWHERE,
        read=readers.secret_url("postgresql", "postgres"),
        about="PostgreSQL, direct connection",
        source="Supabase: Project Settings, Database",
    )
    migration_url: Secret | None = setting(
        "MIGRATION_DATABASE_URL",
        read=readers.secret_url("postgresql", "postgres"),
        about="login that owns the schema, for cookcam migrate; else DATABASE_URL",
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


@frozen
class IdentityConfig:
    supabase_url: str = setting(
        "SUPABASE_URL",
        required=EVERYWHERE,
        read=readers.url("https", "http"),
        about="address of the Supabase project",
        source="Supabase: Project Settings, API",
    )
    anon_key: Secret = setting(
        "SUPABASE_ANON_KEY",
        required=EVERYWHERE,
        read=readers.secret(),
        about="public key of the project",
        source="Supabase: Project Settings, API",
    )
    service_role_key: Secret = setting(
        "SUPABASE_SERVICE_ROLE_KEY",
        required=EVERYWHERE,
        read=readers.secret(),
        aliases=("SUPABASE_SERVICE_KEY",),
        about="administrative key of the project",
        source="Supabase: Project Settings, API",
    )
    jwt_secret: Secret | None = setting(
        "JWT_SECRET",
        required=DEPLOYED,
        read=readers.secret(minimum=32),
        about="verifies HS256 access tokens of the project locally",
        source="Supabase: Project Settings, API, JWT secret",
    )
    jwt_refresh_secret: Secret | None = setting(
        "JWT_REFRESH_SECRET",
        required=DEPLOYED,
        read=readers.secret(minimum=32),
        about="demanded of deployments for compatibility; signs nothing",
        source="make one: openssl rand -hex 32",
    )


@frozen
class RealtimeConfig:
    enabled: bool = setting(
        "ENABLE_WEBSOCKETS", default=True, read=readers.boolean, about="serve sockets at all"
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
        about="whoever knows the id of a cooking session may join it, public or not",
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
        read=readers.secret_url("https", "http"),
        about="where error reports go",
        source="Sentry: Project Settings, Client Keys",
    )


@frozen
class ProvidersConfig:
    """Credentials of outside services, validated at start so that none is missing later."""

    openai_api_key: Secret = setting(
        "OPENAI_API_KEY",
        required=EVERYWHERE,
        read=readers.secret(),
        about="vision and recipes",
        source="https://platform.openai.com/api-keys",
    )
    stripe_secret_key: Secret | None = setting(
        "STRIPE_SECRET_KEY",
        required=DEPLOYED,
        read=readers.secret(),
        about="payments; a live key in production and only there",
        source="Stripe: Developers, API keys",
    )
    stripe_webhook_secret: Secret | None = setting(
        "STRIPE_WEBHOOK_SECRET",
        required=DEPLOYED,
        read=readers.secret(),
        about="verifies Stripe's events",
        source="Stripe: Developers, Webhooks",
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
        read=readers.service_account,
        about="Google Play purchases, the JSON text of the key",
        source="Google Cloud: Service accounts, Keys",
    )
    google_play_package_name: str = setting(
        "GOOGLE_PLAY_PACKAGE_NAME",
        default="com.abmccull.cookcamexpo",
        required=DEPLOYED,
        aliases=("ANDROID_PACKAGE_NAME",),
        about="package of the Android app",
    )
