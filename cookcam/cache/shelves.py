"""Where cached values lie. A shelf holds bytes; what they mean is the cache's business."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Found(NamedTuple):
    """What a shelf has under a key (None: nothing of the present edition), and that edition.

    A namespace begins a new edition when all of it is dropped. A value is put under the edition
    that was present when its making began, so one that was made of older data is never found.
    """

    value: bytes | None
    edition: int


class Shelf(Protocol):
    """Holds values for a time. Never raises for a failure of its own: what is lost is made anew."""

    async def take(self, namespace: str, key: str) -> Found: ...

    async def put(
        self, namespace: str, key: str, edition: int, value: bytes, seconds: float
    ) -> None: ...

    async def drop(self, namespace: str, *keys: str) -> None: ...

    async def new_edition(self, namespace: str) -> None: ...
