"""Readers: the text of one environment variable to a typed value.

A reader raises ValueError with the rule that is broken ("must be a number from 1 to 60"), never
with the value. `Secret` is the type of everything that must not be shown.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import time
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

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
        "BACKUP_ENABLED",
        "BACKUP_FREQUENCY",
        "BACKUP_RETENTION_DAYS",
        "BACKUP_INCREMENTAL",
    }
)
"""Variables of older example files that nothing reads (`spec/operations.md` §1.4)."""

_PLACEHOLDER = re.compile(
    r"your[-_ ]|change[-_ ]?me|placeholder|example[-_ ]?(key|secret)|<.+>", re.I
)


class Secret:
    """A value that is never shown: `repr`, `str` and JSON give `[REDACTED]`.

    Not an attrs class, so that `attrs.asdict` of a section does not open it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "[REDACTED]"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def integer(lowest: int, highest: int) -> Reader[int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", value) or not lowest <= int(value) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(value)

    return read


def number(lowest: float, highest: float) -> Reader[float]:
    def read(value: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value) or not lowest <= float(value) <= highest:
            raise ValueError(f"must be a number from {lowest:g} to {highest:g}")
        return float(value)

    return read


def time_of_day(value: str) -> time | None:
    """`HH:MM`, or None for `off`."""
    if value.lower() == "off":
        return None
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:00)?", value):
        raise ValueError("must be a time such as 02:00, or off")
    return time.fromisoformat(value)


def choice(*allowed: str) -> Reader[str]:
    def read(value: str) -> str:
        if value.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value.lower()

    return read


def url(*schemes: str) -> Reader[str]:
    def read(value: str) -> str:
        if not _is_url(value, schemes):
            raise ValueError(
                f"must be a URL that starts with {' or '.join(s + '://' for s in schemes)}"
            )
        return value.rstrip("/")

    return read


def secret(*, minimum: int = 1) -> Reader[Secret]:
    def read(value: str) -> Secret:
        if len(value) < minimum:
            raise ValueError(f"must have at least {minimum} characters")
        return Secret(value)

    return read


def secrets(value: str) -> tuple[Secret, ...]:
    """A comma list: while one is replaced, the old and the new one are good."""
    found = tuple(Secret(item.strip()) for item in value.split(",") if item.strip())
    if not found:
        raise ValueError("must be a comma list of secrets")
    return found


def secret_url(*schemes: str) -> Reader[Secret]:
    check = url(*schemes)

    def read(value: str) -> Secret:
        check(value)
        return Secret(value)

    return read


def origins(value: str) -> tuple[str, ...]:
    found = tuple(item.strip().rstrip("/") for item in value.split(",") if item.strip())
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
            raise ValueError("must be a comma list of origins such as https://cookcam.ai")
    return found


def networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(
            ipaddress.ip_network(item.strip(), strict=False)
            for item in value.split(",")
            if item.strip()
        )
    except ValueError:
        raise ValueError("must be a comma list of networks such as 10.0.0.0/8") from None


def service_account(value: str) -> Secret:
    import json

    try:
        key: Any = json.loads(value)
    except ValueError:
        raise ValueError("must be the JSON text of a service account key") from None
    if not isinstance(key, dict) or not {"client_email", "private_key"} <= key.keys():
        raise ValueError("must have client_email and private_key")
    return Secret(value)


def firebase_account(value: str) -> Secret:
    """A service account that names its project, or the name of its file."""
    import json
    from pathlib import Path

    text = value
    if not value.startswith("{"):
        try:
            text = Path(value).read_text("utf-8")
        except (OSError, ValueError):
            raise ValueError("must be the JSON text of a key, or the name of its file") from None
    key = service_account(text)
    if not re.fullmatch(r"[a-z0-9:.-]+", str(json.loads(text).get("project_id"))):
        raise ValueError("must have project_id")
    return key


def certificates(value: str) -> tuple[bytes, ...]:
    """The files of a comma list, each one certificate, as DER."""
    from base64 import b64decode
    from pathlib import Path

    found: list[bytes] = []
    for name in filter(None, (item.strip() for item in value.split(","))):
        try:
            content = Path(name).read_bytes()
        except OSError:
            raise ValueError("must be a comma list of readable files") from None
        pem = re.search(rb"-----BEGIN CERTIFICATE-----(.+?)-----END", content, re.S)
        try:
            found.append(b64decode(b"".join(pem[1].split()), validate=True) if pem else content)
        except ValueError:
            raise ValueError("must name certificates in DER or PEM") from None
    if any(not content.startswith(b"\x30") for content in found):
        raise ValueError("must name certificates in DER or PEM")
    return tuple(found)


def pem(value: str) -> Secret:
    """A private key or the name of its file; an environment often cannot hold line breaks."""
    from pathlib import Path

    text = value.replace("\\n", "\n")
    if "PRIVATE KEY-----" not in text:
        try:
            text = Path(value).read_text("ascii")
        except (OSError, ValueError):
            raise ValueError("must be a private key in PEM, or the name of its file") from None
    if "PRIVATE KEY-----" not in text:
        raise ValueError("must be a private key in PEM, or the name of its file")
    return Secret(text)


def is_placeholder(value: str) -> bool:
    """Whether a value was copied from an example and never filled in."""
    return _PLACEHOLDER.search(value) is not None and len(value) < 200


def without_credentials(value: str) -> str:
    """A URL as it may be logged: no user part, no query."""
    parts = urlsplit(value)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        if parts.scheme in ("http", "https"):
            return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        # A PostgreSQL address may name several hosts, or none and a socket directory.
        return parts.scheme in schemes and bool(parts.netloc or parts.path or parts.query)
    except ValueError:
        return False
