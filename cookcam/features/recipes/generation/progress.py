"""How a generation tells what it is doing to whoever watches."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Stage = Literal["asking", "writing", "restarted", "storing", "done", "failed"]
"""In this order; `restarted`: the answer is asked for again and items told before are void."""


class Watch(Protocol):
    """No method waits or raises: a generation does not depend on being watched."""

    @property
    def watched(self) -> bool:
        """Whether anybody wants to know while the model is writing. Asking the model for an answer
        in pieces costs more, so it is done for somebody."""
        ...

    def stage(self, stage: Stage) -> None: ...

    def written(self, characters: int) -> None:
        """How much the model has written up to now."""
        ...

    def item(self, kind: str, value: Any) -> None:
        """A part is complete: `kind` is suggestion, preview, step or recipe, `value` its JSON."""
        ...


class Unwatched:
    """Nobody wants to know."""

    watched = False

    def stage(self, stage: Stage) -> None: ...

    def written(self, characters: int) -> None: ...

    def item(self, kind: str, value: Any) -> None: ...
