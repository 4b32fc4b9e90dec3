"""Configuration: the environment, read once, into frozen attrs classes.

`load` gives the sections of `cookcam.config` to cattrs and turns every mistake into one line:
the variable, the rule, the source of the value, and never the value itself. An empty string
means unset (docs/configuration.md).

This is the only module of the program that reads the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote

from attrs import NOTHING, Attribute, fields, frozen
from cattrs import Converter
from cattrs.errors import AttributeValidationNote, BaseValidationError
from cattrs.gen import make_dict_structure_fn, override

from cookcam.config import addresses, keys, readers
from cookcam.config.readers import InvalidSetting
from cookcam.config.secret import Secret
from cookcam.config.sections import (
    DEPLOYED,
    EVERYWHERE,
    SHUTDOWN_MARGIN,
    BackupsConfig,
    DatabaseConfig,
    DrainConfig,
    Environment,
    GenerationConfig,
    IdentityConfig,
    LimitsConfig,
    MailConfig,
    ObservabilityConfig,
    PaymentsConfig,
    ProvidersConfig,
    PushConfig,
    RealtimeConfig,
    ReconciliationConfig,
    RedisConfig,
    ServerConfig,
    StoresConfig,
)

SECTIONS: Mapping[str, type[Any]] = {
    "server": ServerConfig,
    "limits": LimitsConfig,
    "drain": DrainConfig,
    "database": DatabaseConfig,
    "redis": RedisConfig,
    "identity": IdentityConfig,
    "realtime": RealtimeConfig,
    "observability": ObservabilityConfig,
    "providers": ProvidersConfig,
    "stores": StoresConfig,
    "push": PushConfig,
    "mail": MailConfig,
    "generation": GenerationConfig,
    "payments": PaymentsConfig,
    "reconciliation": ReconciliationConfig,
    "backups": BackupsConfig,
}

CONVERTER = Converter()

# Line breaks and tabs are part of keys in PEM and JSON. A lone surrogate is a byte of the process
# environment that is not UTF-8 (PEP 383).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

APNS = ("APNS_KEY_ID", "APNS_TEAM_ID", "APNS_PRIVATE_KEY")


@frozen
class Config:
    """All settings of the program. Create it with `load`; tests may create it directly."""

    environment: Environment
    server: ServerConfig
    limits: LimitsConfig
    drain: DrainConfig
    database: DatabaseConfig
    redis: RedisConfig
    identity: IdentityConfig
    realtime: RealtimeConfig
    observability: ObservabilityConfig
    providers: ProvidersConfig
    stores: StoresConfig
    push: PushConfig
    mail: MailConfig
    generation: GenerationConfig
    payments: PaymentsConfig
    reconciliation: ReconciliationConfig
    backups: BackupsConfig

    @property
    def deployed(self) -> bool:
        return self.environment in DEPLOYED

    @property
    def bus(self) -> Literal["local", "postgres", "redis"]:
        """What joins the instances."""
        return self.realtime.bus or ("redis" if self.redis.url else "postgres")

    @property
    def release(self) -> str:
        """The release name in health responses and error reports."""
        return f"cookcam-api@{self.server.commit or self.server.version}"

    def summary(self) -> dict[str, object]:
        """Fields of the start-up line: plain values of a few settings, presence of the rest."""
        settings: dict[str, object] = {"environment": self.environment}
        for section, attribute in _all_settings():
            value = getattr(getattr(self, section), attribute.name)
            name = attribute.metadata["name"]
            if name in ("PORT", "LOG_LEVEL", "CORS_ORIGIN", "SUPABASE_URL"):
                settings[name] = _as_text(cast(object, value)) if name == "CORS_ORIGIN" else value
            elif _is_secret(value) or value is None or attribute.metadata["required"]:
                settings["has" + name.title().replace("_", "")] = value is not None
        return settings


def _is_secret(value: object) -> bool:
    """Whether the value is a secret, or several that are valid together."""
    values = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return any(isinstance(item, Secret) for item in values)


@frozen
class Mistake:
    """One mistake in the environment."""

    variable: str
    rule: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.variable} {self.rule}" + (f" ({self.source})" if self.source else "")


class ConfigError(Exception):
    """The environment cannot be used; `mistakes` lists every reason."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


def read_environment(env_file: Path | None = None) -> dict[str, str]:
    """The process environment over the values of an env file, older names replaced by newer.

    An empty value counts in neither, and an older name in the environment wins over the newer
    one in the file, as `NODE_ENV` over `APP_ENV`.

    Without `env_file`, `.env` of the working directory is read if it is there, unless the
    process environment already says staging or production: a deployment names its file.
    Raises ConfigError when a named file cannot be read.
    """
    process = _canonical(os.environ)
    if env_file is None:
        candidate = Path(".env")
        if _environment_name(process) in DEPLOYED or not candidate.is_file():
            return process
        env_file = candidate
    elif not env_file.is_file():
        raise ConfigError([Mistake("--env-file", f"names no readable file: {env_file}")])
    from dotenv import dotenv_values

    try:
        from_file = dotenv_values(env_file, interpolate=False)
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            [Mistake("--env-file", f"names no readable file in UTF-8: {env_file}")]
        ) from None
    return {**_canonical({k: v or "" for k, v in from_file.items()}), **process}


def load(environ: Mapping[str, str]) -> Config:
    """Structures `environ` into a Config. Raises ConfigError with all mistakes at once."""
    values = _canonical(environ)
    mistakes: list[Mistake] = []
    name = _environment_name(values)
    if name not in EVERYWHERE:
        variable = "NODE_ENV" if values.get("NODE_ENV") == name else "APP_ENV"
        mistakes.append(Mistake(variable, f"must be one of {', '.join(EVERYWHERE)}"))
        name = "development"
    environment: Environment = name
    unreadable: set[str] = set()  # settings whose file cannot be read: that is their only mistake
    if "GOOGLE_SERVICE_ACCOUNT_KEY" not in values and "GOOGLE_SERVICE_ACCOUNT_KEY_FILE" in values:
        _read_key_file(values, mistakes)
        unreadable = {"GOOGLE_SERVICE_ACCOUNT_KEY"} - values.keys()

    mistakes += _mistakes_in_older_redis_settings(values)

    for _, attribute in _all_settings():
        meta = attribute.metadata
        name, value = meta["name"], values.get(meta["name"])
        if value is None:
            if environment in meta["required"] and name not in unreadable:
                mistakes.append(Mistake(name, _required_rule(meta), meta["source"]))
        elif _UNPRINTABLE.search(value):
            mistakes.append(Mistake(name, "must be UTF-8 without control characters"))
            del values[name]
        elif environment in DEPLOYED and readers.is_placeholder(value):
            mistakes.append(Mistake(name, "holds a placeholder, not a real value", meta["source"]))

    reported = {mistake.variable for mistake in mistakes}

    def report(reported_mistakes: Iterable[Mistake]) -> None:
        """Adds the mistakes of variables that have none yet."""
        for mistake in reported_mistakes:
            if mistake.variable not in reported:
                reported.add(mistake.variable)
                mistakes.append(mistake)

    sections: dict[str, Any] = {}
    for section, cls in SECTIONS.items():
        try:
            sections[section] = _structure_of(cls)(values, cls)
        except BaseValidationError as error:
            report(_mistakes_of(cls, error))
    report(_contradictions(environment, values, sections))
    if environment == "production":
        report(_rejected_in_production(values))
    if mistakes:
        raise ConfigError(mistakes)
    return Config(environment=environment, **sections)


def load_database(environ: Mapping[str, str]) -> DatabaseConfig:
    """The database section alone: a pipeline that migrates has no other settings.

    Raises ConfigError with the mistakes of that section.
    """
    try:
        return load(environ).database
    except ConfigError as error:
        own = {attribute.metadata["name"] for attribute in fields(DatabaseConfig)}
        mistakes = [mistake for mistake in error.mistakes if mistake.variable in own]
        if mistakes:
            raise ConfigError(mistakes) from None
    return _structure_of(DatabaseConfig)(_canonical(environ), DatabaseConfig)


def without_effect(environ: Mapping[str, str]) -> list[str]:
    """Variables in example files of the earlier server that have no effect any more."""
    return sorted(name for name in environ if name in readers.WITHOUT_EFFECT and environ[name])


@frozen
class Described:
    """The description of a setting, for documentation and checks."""

    name: str
    aliases: tuple[str, ...]
    default: str
    required: tuple[Environment, ...]
    about: str
    source: str


def described() -> Iterator[Described]:
    """Every setting, in order."""
    for _, attribute in _all_settings():
        meta = attribute.metadata
        yield Described(
            meta["name"],
            meta["aliases"],
            _as_text(attribute.default),
            meta["required"],
            meta["about"],
            meta["source"],
        )


def _canonical(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set, under their newest names. An empty string means unset."""
    values = {name: value.strip() for name, value in environ.items() if value.strip()}
    older = [("APP_ENV", ("NODE_ENV",))]
    older += [(setting.name, setting.aliases) for setting in described()]
    for name, aliases in older:
        for alias in aliases:
            if name not in values and alias in values:
                values[name] = values[alias]
    if "REDIS_URL" not in values and "REDIS_HOST" in values:
        values["REDIS_URL"] = _redis_url(values)
    return values


def _redis_url(values: Mapping[str, str]) -> str:
    """The URL of the four settings of the earlier server."""
    password = quote(values.get("REDIS_PASSWORD", ""), safe="")
    host, port = values["REDIS_HOST"], values.get("REDIS_PORT", "6379")
    credentials = f":{password}@" if password else ""
    return f"redis://{credentials}{host}:{port}/{values.get('REDIS_DB', '0')}"


def _mistakes_in_older_redis_settings(values: dict[str, str]) -> Iterator[Mistake]:
    """Checks REDIS_PORT and REDIS_DB, which no section reads, if REDIS_URL is built from them."""
    if "REDIS_HOST" not in values or values["REDIS_URL"] != _redis_url(values):
        return
    checks = {"REDIS_PORT": readers.integer(1, 65535), "REDIS_DB": readers.integer(0, 10**6)}
    for name, check in checks.items():
        try:
            check(values.get(name, "1"))
        except InvalidSetting as broken:
            values.pop("REDIS_URL", None)
            yield Mistake(name, str(broken))
    if "REDIS_URL" in values:
        try:
            addresses.redis_url(values["REDIS_URL"])
        except InvalidSetting:
            del values["REDIS_URL"]
            yield Mistake("REDIS_HOST", "must be a host name or an IP address")


def _environment_name(values: Mapping[str, str]) -> str:
    return values.get("APP_ENV", "development")


def _all_settings() -> Iterator[tuple[str, Attribute[Any]]]:
    for name, section in SECTIONS.items():
        for attribute in fields(section):
            yield name, attribute


@cache
def _structure_of(section: type[Any]) -> Callable[[Mapping[str, str], type[Any]], Any]:
    """Creates a section from the values. Raises BaseValidationError with all mistakes."""

    def hook(attribute: Attribute[Any]) -> Any:
        read = attribute.metadata["read"]
        return override(rename=attribute.metadata["name"], struct_hook=lambda value, _: read(value))

    overrides = {attribute.name: hook(attribute) for attribute in fields(section)}
    return make_dict_structure_fn(section, CONVERTER, _cattrs_detailed_validation=True, **overrides)


def _mistakes_of(section: type[Any], error: BaseValidationError) -> Iterator[Mistake]:
    by_field = {attribute.name: attribute.metadata for attribute in fields(section)}
    for cause in error.exceptions:
        for note in getattr(cause, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                meta = by_field[note.name]
                rule = "cannot be read"
                if isinstance(cause, KeyError):
                    rule = _required_rule(meta)
                elif isinstance(cause, InvalidSetting):
                    rule = str(cause)
                yield Mistake(meta["name"], rule, meta["source"])


def _rejected_in_production(values: Mapping[str, str]) -> Iterator[Mistake]:
    for _, attribute in _all_settings():
        meta = attribute.metadata
        if meta["in_production"] is not None and meta["name"] in values:
            try:
                meta["in_production"](meta["read"](values[meta["name"]]))
            except InvalidSetting as invalid:
                yield Mistake(meta["name"], str(invalid), meta["source"])


def _required_rule(meta: Mapping[str, Any]) -> str:
    aliases = " or ".join(meta["aliases"])
    return f"is required (or {aliases})" if aliases else "is required"


def _contradictions(
    environment: Environment, values: Mapping[str, str], sections: Mapping[str, Any]
) -> Iterator[Mistake]:
    """Rules of more than one setting; `sections` are those without a mistake of their own."""
    database: DatabaseConfig | None = sections.get("database")
    if database is not None and database.pool_min > database.pool_max:
        yield Mistake("DB_POOL_MIN", "must not exceed DB_POOL_MAX")
    drain: DrainConfig | None = sections.get("drain")
    if environment == "production" and drain is not None and drain.max_seconds > drain.kill_timeout:
        yield Mistake(
            "DRAIN_TIMEOUT_SECONDS",
            f"with DRAIN_NOTICE_SECONDS and {SHUTDOWN_MARGIN:g} s to close must not exceed"
            f" KILL_TIMEOUT_SECONDS ({drain.kill_timeout:g}): the process would be killed while it"
            " drains",
        )
    if values.get("REALTIME_BUS", "").lower() == "redis" and "REDIS_URL" not in values:
        yield Mistake("REALTIME_BUS", "must not be redis without REDIS_URL")
    if ("TLS_CERT_FILE" in values) != ("TLS_KEY_FILE" in values):
        yield Mistake("TLS_CERT_FILE", "and TLS_KEY_FILE belong together")
    elif "TLS_CERT_FILE" in values:
        try:
            keys.check_tls_files(values["TLS_CERT_FILE"], values["TLS_KEY_FILE"])
        except InvalidSetting as broken:
            yield Mistake("TLS_CERT_FILE", str(broken))
    if ("SMTP_USER" in values) != ("SMTP_PASS" in values):
        yield Mistake("SMTP_USER", "and SMTP_PASS belong together")
    if "SMTP_HOST" in values and "RESEND_API_KEY" in values:
        yield Mistake("RESEND_API_KEY", "and SMTP_HOST exclude each other")
    missing = [name for name in APNS if name not in values]
    if missing and len(missing) < len(APNS):
        for name in missing:
            yield Mistake(name, "is required: " + ", ".join(APNS) + " belong together")
    if key := values.get("STRIPE_SECRET_KEY"):
        live = key.startswith(("sk_live_", "rk_live_"))
        if environment == "production" and not live:
            yield Mistake("STRIPE_SECRET_KEY", "must be a live key in production")
        if environment != "production" and live:
            yield Mistake("STRIPE_SECRET_KEY", "must not be a live key outside production")


def _read_key_file(values: dict[str, str], mistakes: list[Mistake]) -> None:
    try:
        path = Path(values["GOOGLE_SERVICE_ACCOUNT_KEY_FILE"])
        values["GOOGLE_SERVICE_ACCOUNT_KEY"] = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        mistakes.append(Mistake("GOOGLE_SERVICE_ACCOUNT_KEY_FILE", "names no readable file"))


def _as_text(default: object) -> str:
    if default is NOTHING or default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(str(item) for item in cast("tuple[object, ...]", default))
    return f"{default:g}" if isinstance(default, float) else str(default)
