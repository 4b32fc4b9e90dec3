"""One call: what is asked of the model, and what an answer has to be."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import trio
from attrs import field, frozen

S = TypeVar("S")


@frozen
class Question(Generic[S]):
    """One call, as its requests need it; `scope` ends it when its time is over."""

    shape: type[S]
    contract: str
    body: dict[str, Any] = field(repr=False)
    check: Callable[[S], None] | None
    scope: trio.CancelScope


def body_of(
    model: str,
    name: str,
    schema: dict[str, Any],
    messages: Sequence[dict[str, Any]],
    temperature: float,
    max_tokens: int,
) -> dict[str, Any]:
    """The body of a request whose answer has to follow `schema`, to the letter."""
    answer = {"name": name, "strict": True, "schema": schema}
    return {
        "model": model,
        "messages": list(messages),
        "response_format": {"type": "json_schema", "json_schema": answer},
        "temperature": temperature,
        "max_completion_tokens": max_tokens,
    }


def messages_of(instructions: str, prompt: str, images: Sequence[bytes]) -> list[dict[str, Any]]:
    """The system's message and the user's, with JPEG files as data URLs."""
    content: str | list[dict[str, Any]] = prompt
    if images:
        content = [{"type": "text", "text": prompt}]
        for image in images:
            url = f"data:image/jpeg;base64,{b64encode(image).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    return [
        {"role": "system", "content": instructions},
        {"role": "user", "content": content},
    ]
