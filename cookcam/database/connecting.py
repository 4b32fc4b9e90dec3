"""Connecting to PostgreSQL: default connection parameters, TLS, and JSON decoding."""

from __future__ import annotations

import ipaddress

import orjson
import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads

from cookcam.database.connection import Connection

# These detect a network that drops packets within a minute. The operating system's defaults
# take hours.
PARAMETERS: dict[str, str | int] = {
    "application_name": "cookcam",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connection_string(url: str) -> str:
    """Return the URL as a libpq connection string, with `PARAMETERS` as defaults.

    TLS: required for a server on another machine. The certificate and the host name are verified
    when the URL names the authority (`sslrootcert`). `sslmode` in the URL overrides both.

    Raises `ValueError` when libpq cannot parse the URL; the message does not contain the URL.
    """
    try:
        params = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError("not a PostgreSQL connection URL") from None
    named = {key: value for key, value in params.items() if value is not None}
    if "sslmode" not in named and not _is_local(str(named.get("host", ""))):
        named["sslmode"] = "verify-full" if "sslrootcert" in named else "require"
    return make_conninfo("", **{**PARAMETERS, **named})


def row_adapters() -> AdaptersMap:
    """Return psycopg's adapters with orjson as the JSON decoder."""
    adapters = AdaptersMap(psycopg.adapters)
    set_json_loads(orjson.loads, adapters)
    return adapters


async def connect(url: str) -> Connection:
    """Open a connection in autocommit mode.

    Raises `psycopg.OperationalError`, or `ValueError` for an invalid URL.
    """
    return await Connection.connect(connection_string(url), autocommit=True, context=row_adapters())


def _is_local(hosts: str) -> bool:
    return all(_is_local_host(host) for host in hosts.split(","))


def _is_local_host(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
