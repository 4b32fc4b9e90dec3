"""How this program connects: parameters a URL need not name, and how rows are read."""

from __future__ import annotations

import ipaddress

import orjson
import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads

from cookcam.database.connection import Connection

# A network that swallows packets is noticed within a minute, and not after the hours that an
# operating system allows.
PARAMETERS: dict[str, str | int] = {
    "application_name": "cookcam",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connection_string(url: str) -> str:
    """The URL with our parameters where it has none, in libpq's form.

    TLS: a server on another machine must encrypt, and its certificate is checked in full when the
    URL names the authority (`sslrootcert`). `sslmode` in the URL overrides both.

    Raises `ValueError` without the URL in its words when libpq cannot read it.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ValueError("not a PostgreSQL connection URL") from None
    named = {key: value for key, value in given.items() if value is not None}
    if "sslmode" not in named and not _is_local(str(named.get("host", ""))):
        named["sslmode"] = "verify-full" if "sslrootcert" in named else "require"
    return make_conninfo("", **{**PARAMETERS, **named})


def row_adapters() -> AdaptersMap:
    """psycopg's adapters, reading JSON with orjson."""
    adapters = AdaptersMap(psycopg.adapters)
    set_json_loads(orjson.loads, adapters)
    return adapters


async def connect(url: str) -> Connection:
    """A connection in autocommit mode.

    Raises `psycopg.OperationalError`, or what `connection_string` raises.
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
