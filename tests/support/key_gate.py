"""A gate in front of a provider's local server, which accepts two keys at once and revokes one.

The local servers have one key, or take any. The gate replaces each of its own keys in a request by
the server's key, and rejects a request with a revoked one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from attrs import define, field

from tests.support.serving import our_server

NOT_FORWARDED = {b"host", b"connection", b"content-length", b"transfer-encoding"}


@define(eq=False)
class KeyGate:
    """`keys` maps each key of the gate to the key of the server behind it."""

    upstream: str
    keys: dict[str, str]
    url: str = ""
    revoked: set[str] = field(factory=set[str])
    requests: Counter[str] = field(factory=Counter[str])
    """Requests by key."""
    rejected: Counter[str] = field(factory=Counter[str])
    _http: httpx.AsyncClient = field(init=False)

    @classmethod
    @asynccontextmanager
    async def open(cls, upstream: str, keys: dict[str, str]) -> AsyncIterator[KeyGate]:
        gate = cls(upstream, keys)
        parts = urlsplit(upstream)
        async with (
            httpx.AsyncClient(
                base_url=f"{parts.scheme}://{parts.netloc}", verify=False, timeout=30
            ) as gate._http,
            our_server(gate) as (port, _),
        ):
            gate.url = f"http://127.0.0.1:{port}{parts.path}"
            yield gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = [(k, v.decode()) for k, v in scope["headers"] if k not in NOT_FORWARDED]
        target = scope["raw_path"].decode()
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode()
        used = [
            key
            for key in self.keys
            if key.encode() in body or any(key in value for _, value in headers)
        ]
        self.requests.update(used)
        if revoked := self.revoked.intersection(used):
            self.rejected.update(revoked)
            response = httpx.Response(401, json={"message": "the key was revoked"})
        else:
            for key in used:
                headers = [(k, v.replace(key, self.keys[key])) for k, v in headers]
                body = body.replace(key.encode(), self.keys[key].encode())
            response = await self._http.request(
                scope["method"], target, headers=headers, content=body
            )
        content = response.content
        kept = [
            (name.lower().encode(), value.encode())
            for name, value in response.headers.items()
            if name.lower() in ("content-type", "retry-after", "location", "x-sb-error-code")
        ]
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": [*kept, (b"content-length", b"%d" % len(content))],
            }
        )
        await send({"type": "http.response.body", "body": content})
