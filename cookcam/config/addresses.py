"""Readers of addresses: URLs, origins, hosts, networks.

Each refuses what the library that uses the address would refuse later, and names the fault without
a part of the value: an address may hold a password, and with a character that is not
percent-encoded any of its parts may be a piece of that password.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from attrs import field, frozen

from cookcam.config.readers import InvalidSetting, Network, Reader, items
from cookcam.config.secret import Secret

REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster")
REDIS_PORT = 6379

MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}

NEVER_AN_ORIGIN = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"})
"""Schemes whose pages browsers send as `Origin: null`, or which no page has."""

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PACKAGED_HOST = re.compile(r"[A-Za-z0-9._~-]{1,253}")
_INTEGER_OPTIONS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_FILE_OPTIONS = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def url(*schemes: str) -> Reader[str]:
    """An address of HTTP to which paths are appended; without its last slash."""

    def read(value: str) -> str:
        parts = _split(value, schemes)
        if parts.username is not None:
            raise _invalid(schemes, "it must not hold a user or a password")
        if parts.query or parts.fragment or value.endswith(("?", "#")):
            raise _invalid(schemes, "it must not have a query or a fragment")
        return value.rstrip("/")

    return read


def sentry_dsn(value: str) -> Secret:
    """`https://KEY@HOST/PROJECT`, by the rules of `sentry_sdk.utils.Dsn`."""
    parts = _split(value, ("https", "http"))
    if not parts.username:
        raise _invalid(("https", "http"), "it names no key: https://KEY@HOST/PROJECT")
    if not re.fullmatch(r"[0-9]{1,18}", parts.path.rpartition("/")[2]):
        raise _invalid(("https", "http"), "it names no project number: https://KEY@HOST/PROJECT")
    return Secret(value)


def database_url(value: str) -> Secret:
    """An address that libpq accepts, in any of its URI forms.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    """
    schemes = ("postgresql", "postgres")
    _check_text(value, schemes)
    scheme, _, rest = value.partition("://")
    if scheme not in schemes or not rest:
        raise _invalid(schemes)
    credentials, at, after = rest.partition("@")
    if not at or "/" in credentials:
        after = rest
    if "@" in after.partition("?")[0]:
        raise _invalid(schemes, "an @ or / in the user or password must be written %40 or %2F")
    _check_libpq(value, schemes)
    return Secret(value)


def _check_libpq(value: str, schemes: tuple[str, ...]) -> None:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        options = {k: str(v) for k, v in conninfo_to_dict(value).items() if v is not None}
    except psycopg.Error as error:
        fault = "it has a query parameter that PostgreSQL does not know"
        if "query parameter" not in str(error):
            fault = "PostgreSQL's client library cannot read it"
        raise _invalid(schemes, fault) from None
    hosts = options.get("host", "").split(",")
    for host in hosts:
        if host and not host.startswith(("/", "@")) and not _is_host(host.strip("[]")):
            raise _invalid(schemes, "it names a host that is no host name and no address")
    for port in filter(None, options.get("port", "").split(",")):
        if not _is_port(port):
            raise _invalid(schemes, "it names a port that is no number from 1 to 65535")
    for name in _INTEGER_OPTIONS:
        if name in options and not re.fullmatch(r"[0-9]{1,9}", options[name]):
            raise _invalid(schemes, f"{name} must be a whole number")
    for name in _FILE_OPTIONS:
        file = options.get(name, "system")
        if file != "system" and not Path(file).is_file():
            raise _invalid(schemes, f"{name} must name a readable file")
    # libpq checks the values of its options before it connects. A socket folder that does not
    # exist in place of each host keeps this from reaching any server.
    unreachable = ",".join("/nonexistent" for _ in hosts)
    nowhere = {**options, "host": unreachable, "hostaddr": None, "service": None}
    attempt = psycopg.pq.PGconn.connect_start(make_conninfo("", **nowhere).encode())
    message = attempt.error_message
    attempt.finish()
    if not message.startswith(b"connection to server"):
        named = next((name for name in options if name.encode() in message), "an option")
        raise _invalid(schemes, f"{named} has a value that PostgreSQL's client library refuses")


@frozen
class RedisAddress:
    """A Redis URL in parts. `nodes` are (host, port); only a cluster has several."""

    nodes: tuple[tuple[str, int], ...]
    cluster: bool
    tls: bool
    username: str | None
    password: str | None = field(repr=False)
    database: int

    @classmethod
    def of(cls, value: str) -> RedisAddress:
        """Raises InvalidSetting without a part of the value.

            redis://user:password@host:6379/0       rediss:// for TLS
            redis+cluster://host:6379,host:6379     rediss+cluster:// for TLS

        User and password are percent-encoded where they hold reserved characters.
        """
        _check_text(value, REDIS_SCHEMES)
        try:
            parts = urlsplit(value)
        except ValueError:
            raise _invalid(REDIS_SCHEMES) from None
        if parts.scheme not in REDIS_SCHEMES:
            raise _invalid(REDIS_SCHEMES)
        if "@" in parts.path + parts.query + parts.fragment or parts.netloc.count("@") > 1:
            raise _invalid(
                REDIS_SCHEMES, "an @, /, ? or # in the password must be written %40, %2F, %3F, %23"
            )
        if parts.query or parts.fragment:
            raise _invalid(REDIS_SCHEMES, "it must not have a query or a fragment")
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        cluster = parts.scheme.endswith("+cluster")
        nodes = tuple(_redis_node(host) for host in hosts.split(","))
        if len(nodes) > 1 and not cluster:
            raise _invalid(REDIS_SCHEMES, "only a cluster has several hosts")
        number = parts.path.strip("/")
        if number and (cluster or not re.fullmatch(r"[0-9]{1,9}", number)):
            raise _invalid(REDIS_SCHEMES, "the path must be a database number; a cluster has none")
        try:
            user, password = (unquote(text, errors="strict") for text in (user, password))
        except UnicodeDecodeError:
            raise _invalid(REDIS_SCHEMES, "user and password must be UTF-8") from None
        tls = parts.scheme.startswith("rediss")
        return cls(nodes, cluster, tls, user or None, password or None, int(number or 0))


def redis_url(value: str) -> Secret:
    RedisAddress.of(value)
    return Secret(value)


def _redis_node(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not host and ":" not in text:
        host, port = text, ""
    if not _is_host(host.strip("[]")) or (port and not _is_port(port)):
        raise _invalid(REDIS_SCHEMES, "it must name a host, and a port from 1 to 65535")
    return host.strip("[]"), int(port or REDIS_PORT)


def host(value: str) -> str:
    """What a socket is bound to: a host name, or an address of IPv4 or IPv6."""
    if not _is_host(value):
        raise InvalidSetting("must be a host name or an IP address")
    return value


def cors_origins(value: str) -> tuple[str, ...]:
    """Origins as browsers and packaged apps send them in `Origin`, without repetitions.

    Web origins are brought into the form of RFC 6454 and the WHATWG URL standard: lower case, no
    default port, international names in ASCII. Apps in a WebView send an origin with a scheme of
    their own: `capacitor://localhost`, `ionic://localhost`, `tauri://localhost`.
    """
    return _origins(value, packaged=True)


def web_origins(value: str) -> tuple[str, ...]:
    """`cors_origins` of the schemes http and https only."""
    return _origins(value, packaged=False)


def _origins(value: str, *, packaged: bool) -> tuple[str, ...]:
    origins: list[str] = []
    for number, item in enumerate(items(value), 1):
        try:
            origins.append(_origin(item, packaged=packaged))
        except ValueError as fault:
            example = "https://cookcam.ai or capacitor://localhost" if packaged else "https://a.b"
            reason = fault if isinstance(fault, InvalidSetting) else "it cannot be read"
            raise InvalidSetting(
                f"must be a comma list of origins such as {example}; number {number}: {reason}"
            ) from None
    if not origins:
        raise InvalidSetting("must be a comma list of origins, and names none")
    return tuple(dict.fromkeys(origins))


def _origin(item: str, *, packaged: bool) -> str:
    if "*" in item:
        raise InvalidSetting(
            "wildcards are refused, since pages of the listed origins act for signed-in users"
        )
    if item.lower() == "null":
        raise InvalidSetting("null is refused: every sandboxed page and local file sends it")
    scheme, separator, rest = item.partition("://")
    scheme = scheme.lower()
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}", scheme):
        raise InvalidSetting("it must be scheme://host")
    if scheme in NEVER_AN_ORIGIN or (not packaged and scheme not in DEFAULT_PORTS):
        raise InvalidSetting("its scheme is not that of a web page")
    rest = rest.removesuffix("/")
    if re.search(r"[/?#\\\s]", rest):
        raise InvalidSetting("an origin has no path, query or fragment")
    if "@" in rest:
        raise InvalidSetting("an origin has no user or password")
    name, colon, port = (rest, "", "") if rest.endswith("]") else _without_port(rest)
    if colon and not _is_port(port):
        raise InvalidSetting("its port must be a number from 1 to 65535")
    if scheme in DEFAULT_PORTS:
        name = _web_host(name)
    elif not _PACKAGED_HOST.fullmatch(name):
        raise InvalidSetting("it must name a host")
    suffix = f":{int(port)}" if port and int(port) != DEFAULT_PORTS.get(scheme) else ""
    return f"{scheme}://{name.lower()}{suffix}"


def _without_port(text: str) -> tuple[str, str, str]:
    name, colon, port = text.rpartition(":")
    return (name, colon, port) if colon else (text, "", "")


def _web_host(name: str) -> str:
    """The host as a browser writes it in an origin. Raises ValueError."""
    if name.startswith("[") and name.endswith("]"):
        return f"[{ipaddress.IPv6Address(name[1:-1]).compressed}]"
    if not name.isascii():
        import idna

        name = idna.encode(name, uts46=True).decode("ascii")
    if not _is_host(name) or ":" in name:
        raise InvalidSetting("it must name a host")
    return name


def networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(item, strict=False) for item in items(value))
    except ValueError:
        raise InvalidSetting("must be a comma list of networks such as 10.0.0.0/8") from None


def _split(value: str, schemes: tuple[str, ...]) -> SplitResult:
    """A URL of HTTP in parts. Raises InvalidSetting for what httpx would refuse."""
    _check_text(value, schemes)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _invalid(schemes, "its host or its port cannot be read") from None
    if parts.scheme not in schemes or not value.lower().startswith(f"{parts.scheme}://"):
        raise _invalid(schemes)
    if parts.netloc.count("@") > 1 or "@" in parts.path + parts.query + parts.fragment:
        raise _invalid(schemes, "an @, /, ? or # in a user or password must be percent-encoded")
    if not host or not _is_host(host) or port == 0:
        raise _invalid(schemes, "it must name a host, and a port from 1 to 65535")
    return parts


def _check_text(value: str, schemes: tuple[str, ...]) -> None:
    """RFC 3986 section 2: printable ASCII without spaces, `%` only before two hex digits."""
    if "://" not in value:
        raise _invalid(schemes)
    if len(value) > MAX_URL_LENGTH:
        raise _invalid(schemes, f"it must not be longer than {MAX_URL_LENGTH} characters")
    if " " in value:
        raise _invalid(schemes, "a space must be written %20")
    if re.search(r"[^\x21-\x7e]", value):
        raise _invalid(schemes, "characters outside of ASCII must be percent-encoded")
    if _BAD_PERCENT.search(value):
        raise _invalid(schemes, "a % must be written %25")
    if "%00" in value:
        raise _invalid(schemes, "it must not hold %00")


def _invalid(schemes: tuple[str, ...], fault: str = "") -> InvalidSetting:
    rule = f"must be a URL that starts with {' or '.join(s + '://' for s in schemes)}"
    return InvalidSetting(f"{rule}; {fault}" if fault else rule)


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # A last label of digits is an address of IPv4 to every resolver, here a wrong one.
        last = text.rstrip(".").rpartition(".")[2]
        return _HOST_NAME.fullmatch(text) is not None and not last.isdecimal()
    return True


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535
