"""What a stream gives while the answer is being written."""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

from attrs import frozen

S = TypeVar("S")


@frozen
class Progress:
    """How much of the answer is there: characters, and pieces received (about one a token)."""

    characters: int
    pieces: int


@frozen
class Item:
    """The next element of the streamed list, complete and of its class; `index` from 0."""

    index: int
    value: Any


@frozen
class Restarted:
    """The answer was lost or no good and is asked for again: items given before are void."""


@frozen
class Finished(Generic[S]):
    """The whole answer, valid and accepted by `check`: the last event."""

    value: S


Event: TypeAlias = Progress | Item | Restarted | Finished[S]
