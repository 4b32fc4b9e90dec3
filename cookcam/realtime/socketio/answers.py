"""Acknowledgements a server waits for: from the id of an event to the arguments of its answer."""

from __future__ import annotations

from typing import Any

import trio
from attrs import define, field

from .errors import Disconnected


@define(eq=False)
class _Answer:
    arrived: trio.Event = field(factory=trio.Event)
    args: tuple[Any, ...] | None = None


@define(eq=False)
class Answers:
    """The open questions of one socket."""

    _open: dict[int, _Answer] = field(factory=dict[int, _Answer], init=False)
    _asked: int = field(default=0, init=False)

    def ask(self) -> int:
        """The id for a new question; `wait` must follow."""
        number, self._asked = self._asked, self._asked + 1
        self._open[number] = _Answer()
        return number

    async def wait(self, number: int, timeout: float) -> tuple[Any, ...]:
        """The answer's arguments. Raises trio.TooSlowError, or Disconnected."""
        answer = self._open[number]
        try:
            with trio.fail_after(timeout):
                await answer.arrived.wait()
        finally:
            del self._open[number]
        if answer.args is None:
            raise Disconnected
        return answer.args

    def answer(self, number: int, args: list[Any]) -> None:
        """Takes an answer; one that is late, or to no question, is dropped."""
        if (answer := self._open.get(number)) is not None and answer.args is None:
            answer.args = tuple(args)
            answer.arrived.set()

    def give_up(self) -> None:
        """No more answers will come."""
        for answer in self._open.values():
            answer.arrived.set()
