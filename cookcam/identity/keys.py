"""The identity provider's public keys, fetched when needed and cached.

Keys rotate, the provider may be unavailable, and a client can send a token with an invented key
id. So:
- keys are cached for `KEEP`; the first lookup after that refreshes them;
- an unknown key id refreshes them too, but fetches are at least `MIN_FETCH_INTERVAL` apart;
- one fetch runs at a time, in the nursery of the set, so that a client's disconnect does not cancel
  a fetch that other requests wait for;
- while the provider is unavailable, the latest keys stay in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field

from cookcam.errors import ServiceUnavailable
from cookcam.lifecycle.groups import service_nursery
from cookcam.observability.logging import get_logger

log = get_logger(__name__)


if TYPE_CHECKING:
    from jwt import PyJWK

ASYMMETRIC = frozenset({"RS256", "ES256", "EdDSA"})
"""The signature algorithms of Supabase Auth's asymmetric keys."""

KEEP = 600.0
"""Seconds; the provider asks caches not to keep its keys longer than ten minutes."""

MIN_FETCH_INTERVAL = 10.0
"""Seconds from the start of one fetch to the next, however many unknown key ids arrive."""

FETCH_TIMEOUT = 5.0
"""Seconds a fetch may take."""

TIMEOUT = 2.0
"""Seconds a caller with a known but old key waits for fresher ones."""

FetchKeys = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]


@define(eq=False)
class KeySet:
    """Public keys by key id; open it with `KeySet.open(fetch)`."""

    _fetch: FetchKeys
    _nursery: trio.Nursery
    _keys: Mapping[str, PyJWK] = field(factory=dict[str, "PyJWK"])
    _fetched_at: float = -inf
    _next_fetch_at: float = -inf
    _failed: bool = False
    _fetching: trio.Event | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, fetch: FetchKeys) -> AsyncGenerator[KeySet]:
        """A key set that lives as long as the block.

        `fetch` returns the `keys` list of a JWKS and raises AppError when it cannot.
        """
        async with service_nursery() as nursery:
            yield cls(fetch, nursery)

    async def find(self, key_id: str) -> PyJWK | None:
        """The key of that id; None when the provider has no such key.

        Raises ServiceUnavailable when the id is unknown and the provider cannot be asked.
        """
        key = self._keys.get(key_id)
        if key is not None and trio.current_time() - self._fetched_at < KEEP:
            return key
        provider_was_down = self._failed
        fetching = self._start_fetch()
        if fetching is not None and key is None:
            await fetching.wait()  # ends within FETCH_TIMEOUT
        elif fetching is not None and not provider_was_down:
            with trio.move_on_after(TIMEOUT):
                await fetching.wait()
        keys = self._keys.get(key_id)
        if keys is None and self._failed:
            raise ServiceUnavailable
        return keys

    def _start_fetch(self) -> trio.Event | None:
        """The fetch under way, or a new one; None when the last one began too recently."""
        now = trio.current_time()
        if self._fetching is None and now >= self._next_fetch_at:
            self._next_fetch_at = now + MIN_FETCH_INTERVAL
            self._fetching = trio.Event()
            self._nursery.start_soon(self._refresh, self._fetching)
        return self._fetching

    async def _refresh(self, done: trio.Event) -> None:
        try:
            with trio.fail_after(FETCH_TIMEOUT):
                self._keys = usable_keys(await self._fetch())
            self._fetched_at = trio.current_time()
            self._failed = False
        except Exception as error:  # a provider's odd answer must not end the tree we run in
            self._failed = True
            log.warning(
                "signing keys not refreshed", reason=type(error).__name__, kept=len(self._keys)
            )
        finally:
            self._fetching = None
            done.set()


def usable_keys(entries: Iterable[Mapping[str, Any]]) -> dict[str, PyJWK]:
    """The signature keys among the entries of a JWKS.

    An entry without id, for encryption, of an unknown kind or malformed is left out; so is every
    symmetric one: a secret has no place in a public document and must not verify anything.
    """
    from jwt import PyJWK, PyJWTError

    keys: dict[str, PyJWK] = {}
    for entry in entries:
        key_id = entry.get("kid")
        if not isinstance(key_id, str) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = PyJWK(dict(entry))
        except (PyJWTError, ValueError, TypeError):
            continue
        if key.algorithm_name in ASYMMETRIC:
            keys[key_id] = key
    return keys
