"""Reads of paged lists over HTTP, decoded with the declared type of their response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import msgspec

T = TypeVar("T")

Get = Callable[..., Awaitable[httpx.Response]]


def decoded(response: httpx.Response, model: type[T]) -> T:
    """The response as `model`. Fails for a field of another type, a missing or an extra field."""
    assert response.status_code == 200, response.text
    value = msgspec.json.decode(response.content, type=model)
    assert _keys(msgspec.to_builtins(value)) == _keys(response.json())
    return value


async def walk(get: Get, path: str, items: str, limit: int) -> list[list[Any]]:
    """All pages of a list."""
    pages: list[list[Any]] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        response = await get(path, params=params)
        assert response.status_code == 200, response.text
        body = response.json()
        pages.append(body[items])
        if body["next_cursor"] is None:
            return pages
        params["cursor"] = body["next_cursor"]


def _keys(value: Any) -> Any:
    """`value` with each scalar replaced by None."""
    if isinstance(value, dict):
        return {key: _keys(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_keys(item) for item in value]
    return None
