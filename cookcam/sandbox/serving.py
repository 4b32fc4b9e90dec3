"""What the fake servers share: the listener, bodies and replies, settings and staged faults."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import orjson
import trio
from attrs import define, field, frozen
from cattrs import Converter
from cattrs.errors import BaseValidationError
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType] # has a bare dict
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.http.quart_internals import MatchOnlyRule

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


@frozen
class Listener:
    """A port at which an ASGI application can be served; `url` has no path.

    It is opened before the application is built, because responses contain its address.
    """

    url: str
    _socket: socket.socket

    @classmethod
    def open(cls, host: str, port: int) -> Listener:
        """Port 0 takes a free one. Raises OSError when the port is taken."""
        listener = socket.create_server((host, port))
        return cls(f"http://{host}:{listener.getsockname()[1]}", listener)

    @asynccontextmanager
    async def serving(self, app: Any, **settings: Any) -> AsyncGenerator[None]:
        """Serve until the block ends; ready when it begins. `settings` are Hypercorn's."""
        config = HypercornConfig.from_mapping(
            bind=[f"fd://{self._socket.detach()}"], errorlog=None, graceful_timeout=0.1, **settings
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, app, config))
            yield
            nursery.cancel_scope.cancel()


# Faults


class CountedFault(Protocol):
    """A fault of the next `times` requests (None: of all)."""

    times: int | None


F = TypeVar("F", bound=CountedFault)


def count_down(fault: F) -> F | None:
    """Use a fault once; returns what stays set for the requests after this one."""
    if fault.times is None:
        return fault
    fault.times -= 1
    return fault if fault.times > 0 else None


@define
class Failure:
    """Responses with an error `status` (500, 429, 503, ...) in place of the real ones.

    `times` requests fail (None: all). A `late` failure does the work first and then loses the
    response, as a gateway timeout does.
    """

    status: int
    times: int | None = None
    late: bool = False


def upstream_trouble(failure: Failure) -> Response:
    """A failure with a body that is not of the provider, as from a gateway before it."""
    return Response("upstream trouble", status=failure.status)


@define
class Faults:
    """Settings that may be changed while a fake runs: a delay of responses, in seconds, and a
    failure in place of them."""

    delay: float = 0.0
    failure: Failure | None = None

    def note(self, line: str) -> None:
        """Called with the method and path of each request."""

    def may_fail(self, path: str) -> bool:
        """Whether failures concern that path."""
        return True

    def on_failure(self, response: Response) -> None:
        """Called with each response that replaces a real one."""

    async def on_response(self, response: Response) -> None:
        """Called with each response."""

    def take_failure(self, *, late: bool) -> Failure | None:
        """The failure of the current request; counts it down."""
        failure = self.failure
        if failure is None or failure.late is not late or not self.may_fail(request.path):
            return None
        self.failure = count_down(failure)
        return failure

    def apply_to(
        self,
        app: QuartTrio,
        rejection: Callable[[Failure], Response] = upstream_trouble,
        base: str = "/",
    ) -> None:
        """Add the faults to the paths below `base`, except those of the sandbox itself."""

        def is_concerned() -> bool:
            return request.path.startswith(base) and not request.path.startswith("/_sandbox/")

        def failed_response(*, late: bool) -> Response | None:
            failure = self.take_failure(late=late)
            if failure is None:
                return None
            response = rejection(failure)
            self.on_failure(response)
            return response

        @app.before_request
        async def wait_or_fail() -> Response | None:
            if not is_concerned():
                return None
            self.note(f"{request.method} {request.path}")
            if self.delay:
                await trio.sleep(self.delay)
            response = failed_response(late=False)
            if response is not None:
                await request.get_data()  # or the next request on this connection waits behind it
            return response

        @app.after_request
        async def lose_or_change(response: Response) -> Response:
            if is_concerned():
                if response.status_code < 400:
                    response = failed_response(late=True) or response
                await self.on_response(response)
            return response


@define
class HttpFaults(Faults):
    """Failures have `retry_after`; `garbled` JSON is cut in half. `requests` lists what arrived, as
    method and path."""

    retry_after: int | None = None
    garbled: bool = False
    requests: list[str] = field(factory=list[str], repr=False)

    def note(self, line: str) -> None:
        self.requests.append(line)

    def on_failure(self, response: Response) -> None:
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)

    async def on_response(self, response: Response) -> None:
        if self.garbled and response.mimetype == "application/json":
            content = await response.get_data(as_text=False)
            response.set_data(content[: len(content) // 2])


def replace_settings(settings: Any, changes: object, *groups: str) -> dict[str, Any]:
    """Change the named settings of an attrs object and return all of them.

    `groups` are fields that hold settings themselves: what is not named in them stays too.
    Raises ValueError for settings it does not have and for values of another type.
    """
    converter = Converter(forbid_extra_keys=True)
    current = cast("dict[str, Any]", converter.unstructure(settings))
    try:
        merged = {**current, **cast("Mapping[str, Any]", changes)}
        for name in groups:
            merged[name] = {**current[name], **merged[name]}
        changed: Any = converter.structure(merged, cast("type[Any]", type(settings)))
    except (BaseValidationError, TypeError):
        raise ValueError("not settings of this server") from None
    for name in current:
        if name not in groups:
            setattr(settings, name, getattr(changed, name))
    for group in groups:  # in place: other objects hold them
        for name in current[group]:
            setattr(getattr(settings, group), name, getattr(getattr(changed, group), name))
    return cast("dict[str, Any]", converter.unstructure(settings))


# Quart


class FakeServerApp(QuartTrio):
    """A Quart app without URL builders and static files, which take most of its creation."""

    url_rule_class = MatchOnlyRule

    def __init__(self, name: str) -> None:
        super().__init__(name, static_folder=None, template_folder=None)


def json_response(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")


def bearer_token() -> str:
    """The bearer token of the current request; empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def read_json_object() -> dict[str, Any]:
    """The body of the current request. Raises ValueError with the reason."""
    body: object = orjson.loads(await request.get_data())
    if not isinstance(body, dict):
        raise ValueError("expected an object")
    return cast("dict[str, Any]", body)


# ASGI without a framework


async def run_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def read_body(receive: Receive) -> bytes | None:
    """None when the client disconnects before the body is complete."""
    content, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        content += message.get("body", b"")
        more = message.get("more_body", False)
    return content


async def start_response(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def send_response(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    await start_response(send, status, headers)
    await send({"type": "http.response.body", "body": body, "more_body": False})
