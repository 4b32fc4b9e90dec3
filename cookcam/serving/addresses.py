"""How many connections one address may have open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from attrs import define, field

from cookcam.serving.listener import Peer

Network = IPv4Network | IPv6Network


@define
class AddressLimit:
    """Counts open connections by address, an IPv6 address by its /64, which one customer owns.

    `maximum` of 0 is no limit. The addresses in `exempt` have none: proxies, whose one address
    stands for all of their clients.
    """

    maximum: int = 0
    exempt: Sequence[Network] = ()
    _open: Counter[str] = field(factory=Counter[str], init=False)

    def key_of(self, peer: Peer) -> str | None:
        """What a connection counts for; None for one that is not counted."""
        text = peer.address if self.maximum else None
        if text is None or self.is_exempt(text):
            return None
        address = _parse(text)
        if isinstance(address, IPv6Address):
            return str(IPv6Network((address, 64), strict=False))
        return str(address)

    def is_exempt(self, text: str) -> bool:
        address = _parse(text)
        return any(address in network for network in self.exempt)

    def claim(self, key: str | None) -> bool:
        """Counts one more, and is False where that would be too many."""
        if key is None:
            return True
        if self._open[key] >= self.maximum:
            return False
        self._open[key] += 1
        return True

    def release(self, key: str | None) -> None:
        """Takes back a `claim` that was True."""
        if key is not None:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def _parse(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
