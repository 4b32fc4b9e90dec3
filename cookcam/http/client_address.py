"""The address of a client behind the trusted proxies of the configuration.

Each proxy appends the address it was called from to X-Forwarded-For, so only the part written
by trusted proxies says anything: reading from the right, the first address that is not a trusted
proxy is the client. Everything left of it was sent by the client and is ignored (setting
`TRUSTED_PROXIES`, docs/http.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from attrs import define, field

from cookcam.config.readers import Network

UNKNOWN = "local"
"""The address of a peer without one, such as a UNIX socket."""

Address = IPv4Address | IPv6Address


@define
class ClientAddresses:
    """Determines client addresses. Caches the 4,096 addresses parsed last."""

    trusted: tuple[Network, ...]
    _parsed: Callable[[str], tuple[str, bool] | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parsed = lru_cache(maxsize=4096)(self._parse)

    def of(self, peer: str | None, forwarded: Iterable[bytes]) -> str:
        """The client's address as text: `peer` or the rightmost untrusted hop.

        `forwarded` are the values of the X-Forwarded-For headers in order. A hop that is no
        address ends the search: the result is then the last trusted proxy.
        """
        parsed = self._parsed(peer) if peer else None
        if parsed is None:
            return UNKNOWN
        client, is_trusted = parsed
        if is_trusted:
            for hop in _from_the_right(list(forwarded)):
                parsed = self._parsed(hop)
                if parsed is None:
                    break
                client, is_trusted = parsed
                if not is_trusted:
                    break
        return client

    def _parse(self, text: str) -> tuple[str, bool] | None:
        """The address in its normal spelling and whether it is a trusted proxy's."""
        address = parse_address(text)
        if address is None:
            return None
        return str(address), any(address in network for network in self.trusted)


def parse_address(text: str) -> Address | None:
    """An address with an optional port and brackets; IPv4 inside IPv6 becomes IPv4.

    None for anything else. A zone (`%eth0`) is dropped: it is free text.
    """
    text = text.strip()
    if text.startswith("["):
        text, closed, _ = text[1:].partition("]")
        if not closed:
            return None
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def quota_key(address: str) -> str:
    """The quota key of an address: itself, or its /64 for IPv6, which one customer has."""
    if ":" not in address:
        return address
    return str(IPv6Network((address, 64), strict=False))


def _from_the_right(values: Sequence[bytes]) -> Iterable[str]:
    for value in reversed(values):
        for hop in reversed(value.decode("latin-1").split(",")):
            yield hop.strip()
