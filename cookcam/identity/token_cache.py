"""The identities of verified tokens, so that a token's signature is verified once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from cookcam.identity.models import Identity

if TYPE_CHECKING:
    from jwt import PyJWK

MAX_ENTRIES: Final = 5_000
"""Tokens, about 20 MB; the least recently used is dropped first."""


@frozen
class VerifiedToken:
    """A token's identity, and what verified it.

    `key` is the public key, or None for a token verified with the secret or by the provider.
    `usable_until` is in seconds of Trio's clock; it limits how long a decision of the provider,
    which may revoke a session, is used.
    """

    identity: Identity
    key_id: str | None = None
    key: PyJWK | None = None
    usable_until: float = inf


@define(eq=False)
class TokenCache:
    """Verified tokens by the SHA-256 of the token. The token itself is not kept.

    The caller checks times, key and account of an entry each time it uses it.
    """

    _entries: OrderedDict[bytes, VerifiedToken] = field(
        factory=OrderedDict[bytes, VerifiedToken], repr=False
    )

    def get(self, token: str) -> VerifiedToken | None:
        digest = _digest(token)
        entry = self._entries.get(digest)
        if entry is None or trio.current_time() >= entry.usable_until:
            return None
        self._entries.move_to_end(digest)
        return entry

    def put(self, token: str, entry: VerifiedToken) -> None:
        digest = _digest(token)
        self._entries[digest] = entry
        self._entries.move_to_end(digest)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def drop(self, token: str) -> None:
        self._entries.pop(_digest(token), None)

    def __len__(self) -> int:
        return len(self._entries)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
