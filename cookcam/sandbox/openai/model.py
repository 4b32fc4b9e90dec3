"""The "model": from a question to what it says, well or, with a fault, badly."""

from __future__ import annotations

from typing import Any, cast

import orjson

from cookcam.sandbox.openai.behaviour import Fault
from cookcam.sandbox.openai.filling import fill
from cookcam.sandbox.openai.wire import Answer, Question, tokens_of

_BYTES_PER_TOKEN = 4


def answer_to(question: Question, fault: Fault | None = None) -> Answer:
    """The same for the same question and fault."""
    kind = fault.kind if fault is not None else None
    if kind == "refusal":
        return Answer("", refusal="I'm sorry, I can't help with that.")
    if kind == "garbage":
        return Answer("Sure! Here is what I would cook: {")
    if kind == "wrong_shape":
        return Answer('{"thoughts": "hungry"}')
    value = fill(question, empty=kind == "empty")
    if kind == "wrong_count":
        _drop_one(value)
    text = orjson.dumps(value).decode()
    limit = question.max_tokens
    if kind == "truncated" or (limit is not None and tokens_of(text) > limit):
        whole = text.encode()
        kept = len(whole) // 2 if kind == "truncated" else (limit or 0) * _BYTES_PER_TOKEN
        return Answer(whole[:kept].decode(errors="ignore"), "length")
    if kind == "filtered":
        return Answer(text[: len(text) // 2], "content_filter")
    return Answer(text)


def _drop_one(value: dict[str, Any]) -> None:
    """Takes the last element from the first list there is, at the top if there is one."""
    for inner in value.values():
        if isinstance(inner, list) and inner:
            cast("list[object]", inner).pop()
            return
