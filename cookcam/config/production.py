"""Rules for settings that apply in production only.

A rule takes the value of one setting and raises InvalidSetting. Settings declare their rules
(`in_production`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from cookcam.config.keys import token_address
from cookcam.config.readers import InvalidSetting, Network
from cookcam.config.secret import Secret

MIN_PREFIX_LENGTH = {4: 8, 6: 7}
"""Of a network of proxies, by IP version: the widest are 10.0.0.0/8 and fc00::/7."""

PACKAGED_APPS = frozenset(
    {"https://localhost", "http://tauri.localhost", "https://tauri.localhost"}
)
"""Origins of apps in a WebView that look like those of a developer's machine: Capacitor on
Android, Tauri on Windows and Android."""

SANDBOX_SECRETS = ("sk-sandbox", "whsec_sandbox", "whsec_sandbox_connect")
"""Published with the source of `cookcam sandbox`."""


def remote_https(value: str) -> None:
    """An address of a service: HTTPS, and not this machine."""
    parts = urlsplit(value)
    if parts.scheme != "https":
        raise InvalidSetting("must start with https:// in production")
    if _is_this_machine(parts.hostname or ""):
        raise InvalidSetting("must not be an address of this machine in production")


def real_service(value: str) -> None:
    """`remote_https`, and not the test environment of a provider."""
    remote_https(value)
    if "sandbox" in (urlsplit(value).hostname or ""):
        raise InvalidSetting("must not be a provider's sandbox in production")


def public_https(value: str) -> None:
    """An address that people's devices open: `remote_https`, and not of a private network."""
    remote_https(value)
    host = urlsplit(value).hostname or ""
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        private = "." not in host or host.endswith((".local", ".internal", ".test", ".invalid"))
    if private:
        raise InvalidSetting("must be a public address in production")


def secret_remote_https(value: Secret) -> None:
    remote_https(value.reveal())


def public_origins(value: Iterable[str]) -> None:
    for origin in value:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or origin in PACKAGED_APPS:
            continue
        if parts.scheme == "http":
            raise InvalidSetting("must not have an http:// origin in production")
        if _is_this_machine(parts.hostname or ""):
            raise InvalidSetting("must not have an origin of a developer's machine in production")


def narrow_networks(value: Iterable[Network]) -> None:
    """Networks of proxies. With too wide ones every client could claim any address."""
    v4 = [network for network in value if isinstance(network, ipaddress.IPv4Network)]
    v6 = [network for network in value if isinstance(network, ipaddress.IPv6Network)]
    for network in (*ipaddress.collapse_addresses(v4), *ipaddress.collapse_addresses(v6)):
        mapped = isinstance(network, ipaddress.IPv6Network) and network[0].ipv4_mapped
        min_length = 96 + MIN_PREFIX_LENGTH[4] if mapped else MIN_PREFIX_LENGTH[network.version]
        if network.prefixlen < min_length:
            raise InvalidSetting(
                "must not trust whole address ranges such as 0.0.0.0/0 or ::/0 in production:"
                " name the networks of your proxies"
            )


def fixed_port(value: int) -> None:
    if value == 0:
        raise InvalidSetting("must not be 0 in production: no proxy would find the server")


def switched_on(value: bool) -> None:
    if not value:
        raise InvalidSetting("must not be false in production")


def switched_off(value: bool) -> None:
    if value:
        raise InvalidSetting("must not be true in production")


def encrypted_mail(value: str) -> None:
    if value == "none":
        raise InvalidSetting("must not be none in production: mails and the password are private")


def real_secret(value: Secret) -> None:
    if value.reveal() in SANDBOX_SECRETS:
        raise InvalidSetting("must not be the published secret of cookcam sandbox in production")


def real_secrets(value: Iterable[Secret]) -> None:
    for secret in value:
        real_secret(secret)


def real_account(value: Secret) -> None:
    """A Google service account. The token address in its key must be a remote HTTPS address."""
    if address := token_address(value):
        try:
            remote_https(address)
        except InvalidSetting as invalid:
            raise InvalidSetting(f"token_uri of the key {invalid}") from None


def _is_this_machine(host: str) -> bool:
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith((".localhost", ".localdomain")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified or address.is_link_local
