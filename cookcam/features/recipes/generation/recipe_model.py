"""Calls the language model for recipes and reports progress while it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar, cast

from attrs import frozen

from cookcam.features.recipes.generation.contracts import Contract, as_json
from cookcam.features.recipes.generation.prompts import INSTRUCTIONS, user_prompt
from cookcam.integrations.openai import Finished, Item, OpenAI, Progress, Restarted

S = TypeVar("S")

Stage = Literal["asking", "writing", "restarted", "storing", "done", "failed"]
"""Stages in their order. `restarted`: the model is called again; items reported before are void."""


class ProgressListener(Protocol):
    """Receives the progress of a generation. No method waits or raises."""

    @property
    def active(self) -> bool:
        """Whether a client is listening. Only then is the completion streamed, which costs more."""
        ...

    def stage(self, stage: Stage) -> None: ...

    def written(self, characters: int) -> None:
        """Report the number of characters written so far."""
        ...

    def item(self, kind: str, value: Any) -> None:
        """Report a complete part: a suggestion, preview, step or recipe, and its JSON."""
        ...


class NoProgress:
    """A ProgressListener that ignores every report."""

    active = False

    def stage(self, stage: Stage) -> None: ...

    def written(self, characters: int) -> None: ...

    def item(self, kind: str, value: Any) -> None: ...


def _item_json(_: int, item: Any) -> Any:
    return as_json(item)


@frozen
class RecipeModel:
    """Calls the language model under one of the contracts and checks its completion."""

    openai: OpenAI

    async def generate(
        self,
        contract: Contract[S],
        data: Mapping[str, Any],
        progress: ProgressListener,
        *,
        seconds: float,
        check: Callable[[S], None],
        check_item: Callable[[Any], None] | None = None,
        item_json: Callable[[int, Any], Any] = _item_json,
    ) -> S:
        """Return the completion for `data`, which the prompt marks as data, not as instructions.

        `check` raises ValueError to reject a completion, `check_item` to reject one of its items.
        `item_json` converts item number n for `progress`; None leaves the item out. Raises what
        `OpenAI.complete` raises.
        """
        progress.stage("asking")
        options: dict[str, Any] = {
            "name": contract.name,
            "instructions": INSTRUCTIONS[contract.name],
            "prompt": user_prompt(contract.name, data),
            "temperature": contract.temperature,
            "max_tokens": contract.max_tokens,
            "seconds": seconds,
            "check": check,
        }
        if not progress.active:
            return await self.openai.complete(contract.shape, **options)
        result: S | None = None
        stream = self.openai.stream(
            contract.shape, items=contract.items, check_item=check_item, **options
        )
        async with stream as events:
            async for event in events:
                match event:
                    case Progress():
                        progress.written(event.characters)
                    case Item():
                        value = item_json(event.index, event.value)
                        if value is not None:
                            progress.item(contract.item_kind, value)
                    case Restarted():
                        progress.stage("restarted")
                    case Finished():
                        result = event.value
        return cast("S", result)
