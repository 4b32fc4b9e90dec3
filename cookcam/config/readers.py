"""Readers: the text of one environment variable to a typed value.

A reader raises InvalidSetting with the rule that is broken ("must be a number from 1 to 60"), never
with the value. `Secret` is the type of everything that must not be shown.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import time
from typing import TypeAlias, TypeVar

from cookcam.config.secret import Secret

T = TypeVar("T")
Reader: TypeAlias = Callable[[str], T]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

WITHOUT_EFFECT = frozenset(
    {
        "DEMO_MODE",
        "SESSION_SECRET",
        "ALLOWED_ORIGINS",
        "ENABLE_MONITORING",
        "ENABLE_CACHE",
        "CACHE_TTL",
        "MAX_UPLOAD_SIZE",
        "MAX_FILE_SIZE",
        "ENABLE_SWAGGER",
        "ENABLE_GRAPHQL_PLAYGROUND",
        "ENABLE_PUSH_NOTIFICATIONS",
        "ENABLE_EMAIL_NOTIFICATIONS",
        "STATSD_HOST",
        "STATSD_PORT",
        "WEBHOOK_BASE_URL",
        "S3_BUCKET_NAME",
        "MIXPANEL_TOKEN",
        "GOOGLE_ANALYTICS_ID",
        "GOOGLE_MAPS_API_KEY",
        "APPLE_CLIENT_ID",
        "FCM_SERVER_KEY",
        "APPLE_TEAM_ID",
        "APPLE_KEY_ID",
        "APPLE_PRIVATE_KEY",
        "WEBHOOK_URL",
        "SUPABASE_KEY",
        "BACKUP_INCREMENTAL",
    }
)
"""Variables of older example files that nothing reads."""

_PLACEHOLDER = re.compile(
    r"your[-_ ]|change[-_ ]?me|placeholder|example[-_ ]?(key|secret)|<.+>", re.I
)


class InvalidSetting(ValueError):
    """A value that a setting does not accept. The text is the rule, and has no part of the value.

    Only this error's text is shown: that of any other error may quote the value.
    """


def items(value: str) -> list[str]:
    """The items of a comma list, without empty ones."""
    return [item.strip() for item in value.split(",") if item.strip()]


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidSetting("must be true or false")
    return value.lower() == "true"


def directory(value: str) -> str:
    """The path of a folder: absolute, since a release's own folder changes."""
    if not value.startswith("/"):
        raise InvalidSetting("must be the absolute path of a folder")
    return value


def integer(lowest: int, highest: int) -> Reader[int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value) or not lowest <= int(value) <= highest:
            raise InvalidSetting(f"must be a whole number from {lowest} to {highest}")
        return int(value)

    return read


def number(lowest: float, highest: float) -> Reader[float]:
    def read(value: str) -> float:
        if (
            not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value)
            or not lowest <= float(value) <= highest
        ):
            raise InvalidSetting(f"must be a number from {lowest:g} to {highest:g}")
        return float(value)

    return read


def time_of_day(value: str) -> time | None:
    """`HH:MM`, or None for `off`."""
    if value.lower() == "off":
        return None
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9](:00)?", value):
        raise InvalidSetting("must be a time such as 02:00, or off")
    return time.fromisoformat(value)


def choice(*allowed: str) -> Reader[str]:
    def read(value: str) -> str:
        if value.lower() not in allowed:
            raise InvalidSetting(f"must be one of {', '.join(allowed)}")
        return value.lower()

    return read


def secret(*, minimum: int = 1) -> Reader[Secret]:
    def read(value: str) -> Secret:
        if len(value) < minimum:
            raise InvalidSetting(f"must have at least {minimum} characters")
        return Secret(value)

    return read


def header_secret(*, minimum: int = 1) -> Reader[Secret]:
    """A secret that is sent as the value of an HTTP header, which takes no other characters."""
    check = secret(minimum=minimum)

    def read(value: str) -> Secret:
        if not re.fullmatch(r"[\x20-\x7e]+", value):
            raise InvalidSetting("must be printable ASCII")
        return check(value)

    return read


def header_secrets(*, minimum: int = 1) -> Reader[tuple[Secret, ...]]:
    """`secrets` of which each is a `header_secret`."""
    return _each(header_secret(minimum=minimum))


def long_secrets(*, minimum: int) -> Reader[tuple[Secret, ...]]:
    """`secrets` of which each has at least `minimum` characters."""
    return _each(secret(minimum=minimum))


def _each(check: Reader[Secret]) -> Reader[tuple[Secret, ...]]:
    return lambda value: tuple(check(one.reveal()) for one in secrets(value))


def pattern(expression: str, rule: str) -> Reader[str]:
    """Text that matches `expression` as a whole."""
    matches = re.compile(expression, re.ASCII).fullmatch

    def read(value: str) -> str:
        if not matches(value):
            raise InvalidSetting(rule)
        return value

    return read


def secrets(value: str) -> tuple[Secret, ...]:
    """A comma list: while one is replaced, the old and the new one are good."""
    values = tuple(Secret(item) for item in items(value))
    if not values:
        raise InvalidSetting("must be a comma list of secrets")
    return values


def is_placeholder(value: str) -> bool:
    """Whether a value was copied from an example and never filled in."""
    return _PLACEHOLDER.search(value) is not None and len(value) < 200
