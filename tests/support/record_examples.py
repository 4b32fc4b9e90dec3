"""pytest plugin that records the examples of the OpenAPI document from real traffic.

    .venv/bin/pytest -p tests.support.record_examples tests/contract tests/features

Of every operation it keeps the exchange with the most keys among the successful ones, with ids,
addresses and tokens replaced, and merges them into cookcam/http/examples.json: an operation that
the run did not reach keeps its example.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from jsonschema import Draft202012Validator

import cookcam.http
from cookcam.app.openapi_document import openapi_document

FILE = Path(cookcam.http.__file__).parent / "examples.json"
MAX_ITEMS = 2
MAX_BYTES = 6000
"""Of one exchange: the document is read by people. A larger one keeps one item of each list."""

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)")
PORT = re.compile(r"http://127\.0\.0\.1:\d+")
SUFFIX = re.compile(r"(?<=[A-Za-z]) ?[0-9a-f]{8,32}\b")

Key = tuple[str, str]


class Recorder:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.base = document["servers"][0]["url"]
        self.operations = [
            (method, path, re.compile(re.sub(r"\{\w+\}", "[^/]+", self._full(path, item)), re.I))
            for path, item in document["paths"].items()
            for method in item
            if method != "servers"
        ]
        self.operations.sort(key=lambda entry: entry[1].count("{"))
        self.best: dict[Key, dict[str, Any]] = {}

    def _full(self, path: str, item: dict[str, Any]) -> str:
        return path if "servers" in item else self.base + path

    def note(self, request: httpx.Request, response: httpx.Response) -> None:
        """Keeps the exchange if it is the best one of its operation."""
        path = urlsplit(str(request.url)).path
        if not 200 <= response.status_code < 300:
            return
        for method, template, pattern in self.operations:
            if request.method.lower() == method and pattern.fullmatch(path):
                self._keep((method, template), request, response)
                return

    def _keep(self, key: Key, request: httpx.Request, response: httpx.Response) -> None:
        operation = self.document["paths"][key[1]][key[0]]
        found: dict[str, Any] = {}
        given = _json(request.headers.get("content-type"), request)
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            found["request"] = {} if given is None else given
        made = _json(response.headers.get("content-type"), response)
        if made is not None:
            found["response"] = {str(response.status_code): made}
        cleaned = Cleaner().clean(found)
        if len(json.dumps(cleaned)) > MAX_BYTES:
            cleaned = Cleaner(max_items=1).clean(found)
        if not self._valid(operation, cleaned):
            return
        earlier = self.best.get(key)
        if earlier is None or _keys(cleaned) > _keys(earlier):
            self.best[key] = cleaned

    def _valid(self, operation: dict[str, Any], found: dict[str, Any]) -> bool:
        pairs: list[tuple[dict[str, Any], Any]] = []
        if "request" in found:
            pairs.append((operation["requestBody"], found["request"]))
        pairs += [
            (operation["responses"].get(status, {}), body)
            for status, body in found.get("response", {}).items()
        ]
        for place, body in pairs:
            schema = place.get("content", {}).get("application/json", {}).get("schema")
            if schema is None:
                return False
            whole = {**schema, "components": self.document["components"]}
            if not Draft202012Validator(whole).is_valid(body):
                return False
        return True

    def write(self) -> None:
        stored: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
        for (method, path), found in self.best.items():
            stored[f"{method.upper()} {path}"] = found
        known = {f"{method.upper()} {path}" for method, path, _ in self.operations}
        kept = {name: stored[name] for name in sorted(stored) if name in known}
        FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


class Cleaner:
    """Replaces what differs from run to run; the same id gets the same replacement."""

    def __init__(self, max_items: int = MAX_ITEMS) -> None:
        self._max_items = max_items
        self._ids: dict[str, str] = {}

    def clean(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._text(key): self.clean(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.clean(item) for item in value[: self._max_items]]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        text = JWT.sub("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIwMDAxIn0.c2lnbmF0dXJl", text)
        if len(text) > 500:
            return text
        text = UUID.sub(self._id, text)
        text = EMAIL.sub("ann@example.com", text)
        text = MOMENT.sub("2026-01-31T12:34:56.789Z", text)
        text = PORT.sub("https://example.com", text)
        return SUFFIX.sub("", text) if " " in text else text

    def _id(self, found: re.Match[str]) -> str:
        number = len(self._ids) + 1
        return self._ids.setdefault(found[0], f"00000000-0000-4000-8000-{number:012d}")


def _json(kind: str | None, message: httpx.Request | httpx.Response) -> Any:
    """The body of a JSON message; None for any other."""
    if not (kind or "").startswith("application/json"):
        return None
    try:
        return json.loads(message.content)
    except ValueError:
        return None


def _keys(value: Any) -> int:
    """How many keys there are, and how many values that say something."""
    if isinstance(value, dict):
        return sum(1 + _keys(entry) for entry in value.values())
    if isinstance(value, list):
        return sum(_keys(item) for item in value)
    return value not in (None, "", 0)


@pytest.fixture(scope="session", autouse=True)
def recorded_examples() -> Iterator[None]:
    recorder = Recorder(json.loads(trio.run(openapi_document)))
    send = httpx.AsyncClient.send

    async def noted(self: httpx.AsyncClient, request: httpx.Request, **kwargs: Any) -> Any:
        response = await send(self, request, **kwargs)
        if not kwargs.get("stream"):
            recorder.note(request, response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncClient, "send", noted)
        yield
    recorder.write()
