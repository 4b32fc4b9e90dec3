"""Asks the model, whole or in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from attrs import frozen

from cookcam.features.recipes.generation.contracts import Contract, wire
from cookcam.features.recipes.generation.progress import Watch
from cookcam.features.recipes.generation.prompts import INSTRUCTIONS, prompt
from cookcam.integrations.openai import Finished, Item, OpenAI, Progress, Restarted

S = TypeVar("S")


def _as_written(_: int, item: Any) -> Any:
    return wire(item)


@frozen
class Chef:
    """The model in its apron."""

    openai: OpenAI

    async def ask(
        self,
        contract: Contract[S],
        data: Mapping[str, Any],
        watch: Watch,
        *,
        seconds: float,
        check: Callable[[S], None],
        check_item: Callable[[Any], None] | None = None,
        show: Callable[[int, Any], Any] = _as_written,
    ) -> S:
        """The answer to `data`, all of which the model is told to take as data.

        `check` raises ValueError for an answer that will not do, `check_item` for a part of one.
        `show` is the JSON of part number n for those who watch, None for none. Raises what
        `OpenAI.structured` raises.
        """
        watch.stage("asking")
        question: dict[str, Any] = {
            "name": contract.name,
            "instructions": INSTRUCTIONS[contract.name],
            "prompt": prompt(contract.name, data),
            "temperature": contract.temperature,
            "max_tokens": contract.max_tokens,
            "seconds": seconds,
            "check": check,
        }
        if not watch.watched:
            return await self.openai.complete(contract.shape, **question)
        answer: S | None = None
        stream = self.openai.stream(
            contract.shape, items=contract.items, check_item=check_item, **question
        )
        async with stream as events:
            async for event in events:
                match event:
                    case Progress():
                        watch.written(event.characters)
                    case Item():
                        shown = show(event.index, event.value)
                        if shown is not None:
                            watch.item(contract.tells, shown)
                    case Restarted():
                        watch.stage("restarted")
                    case Finished():
                        answer = event.value
        return cast("S", answer)
