"""`/asyncapi.json`: the AsyncAPI 3 document of the socket events, from the types they declare.

Actions are those of the server: it receives what clients send. https://www.asyncapi.com/docs/reference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.json import schema_components

from cookcam.app.schema_examples import example_of
from cookcam.app.server_events import SERVER_EVENTS
from cookcam.config import Config
from cookcam.http.openapi import document_routes
from cookcam.http.responses import JSON_TYPE, RawResponse, to_json
from cookcam.http.route_options import hidden
from cookcam.http.routing import Routes
from cookcam.realtime.events import Event
from cookcam.realtime.service import PLAIN_PATH, SOCKET_IO

_DESCRIPTION = """Events of CookCam's sockets. Each event has one argument, a JSON object: over
Socket.IO the argument of the event, over a plain WebSocket `data` of `{"event": ..., "data": ...}`.
Send the access token as `auth.token` of Socket.IO's handshake, or as `Authorization: Bearer`."""


def asyncapi_document(events: Mapping[str, Event], config: Config) -> dict[str, Any]:
    """The document as plain data. `events` are those that clients may send."""
    sent = {name: entry.payload for name, entry in SERVER_EVENTS.items()}
    received = {name: event.schema for name, event in events.items()}
    types = [*received.values(), *sent.values()]
    references, schemas = schema_components(types, ref_template="#/components/schemas/{name}")
    payload = dict(zip([*received, *(f"{name}:sent" for name in sent)], references, strict=True))
    messages: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name in received:
        messages[name] = {"name": name, "payload": payload[name]}
        operations[f"receive_{name}"] = _operation("receive", name)
    for name, entry in SERVER_EVENTS.items():
        key = name if name not in messages else f"{name}_sent"
        messages[key] = {
            "name": name,
            "summary": f"To {entry.receivers}.",
            "payload": payload[f"{name}:sent"],
        }
        operations[f"send_{name}"] = _operation("send", key)
    for message in messages.values():
        message["examples"] = [{"payload": example_of(message["payload"], schemas)}]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CookCam events",
            "version": config.server.version,
            "description": _DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {
            "socketio": _server(config, "socket.io", SOCKET_IO),
            "websocket": _server(config, "wss", PLAIN_PATH),
        },
        "channels": {
            "events": {
                "address": None,  # the connection: events have names, not addresses
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages},
            }
        },
        "operations": operations,
        "components": {
            "schemas": schemas,
            "messages": messages,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(action: str, message: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/events"},
        "messages": [{"$ref": f"#/channels/events/messages/{message}"}],
    }


def _server(config: Config, protocol: str, path: str) -> dict[str, Any]:
    return {
        "host": urlsplit(config.server.api_base_url).netloc,
        "pathname": path,
        "protocol": protocol,
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    }


def asyncapi_routes(events: Callable[[], Mapping[str, Event]], config: Config) -> Routes:
    """`/asyncapi.json`, built on the first request; access is that of `/openapi.json`."""
    bp, require_access = document_routes("asyncapi", config)
    created: list[bytes] = []

    @bp.get("/asyncapi.json")
    @hidden
    async def document() -> RawResponse:
        require_access()
        if not created:
            created.append(to_json(asyncapi_document(events(), config)))
        [body] = created
        return RawResponse(
            200, [(b"content-type", JSON_TYPE), (b"content-length", b"%d" % len(body))], body
        )

    return bp
