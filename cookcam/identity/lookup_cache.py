"""A short-lived cache of the provider's responses, so that a burst of requests calls it once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import trio
from attrs import define, field

from cookcam.identity.models import Identity


@define(eq=False)
class LookupCache:
    """At most `capacity` identities, each for `seconds`, by the hash of their token.

    The token itself is not kept. A session revoked at the provider is noticed after `seconds`.
    """

    seconds: float = 30.0
    capacity: int = 4096
    _entries: OrderedDict[bytes, tuple[float, Identity]] = field(
        factory=OrderedDict[bytes, tuple[float, Identity]], repr=False
    )

    def get(self, token: str) -> Identity | None:
        until, identity = self._entries.get(_digest(token), (0.0, None))
        return identity if trio.current_time() < until else None

    def put(self, token: str, identity: Identity) -> None:
        digest = _digest(token)
        self._entries[digest] = (trio.current_time() + self.seconds, identity)
        self._entries.move_to_end(digest)
        if len(self._entries) > self.capacity:
            self._entries.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
