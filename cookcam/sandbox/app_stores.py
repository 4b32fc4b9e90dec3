"""Clock, notifications, prices and commands, shared by the two fake app stores.

Commands are `POST /_sandbox/<command>` with a JSON object of fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from inspect import Parameter, signature
from itertools import count
from secrets import randbelow
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import orjson
from attrs import define, field
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.serving import FakeServerApp, Listener, json_response

if TYPE_CHECKING:
    import httpx

Fields: TypeAlias = Mapping[str, Any]
"""The fields that a command accepts and their types."""

MAX_TIME_SHIFT = timedelta(days=3660)

_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}

P = TypeVar("P")
S = TypeVar("S", bound="StoreServer[Any]")


class InvalidCommand(Exception):
    """A command that cannot be carried out; the text is the response's `error`."""


@define(eq=False, kw_only=True)
class StoreServer(ABC, Generic[P]):
    """A store with a clock that is `ahead` of the real time, which posts to `endpoint`.

    Commands that end a period move the clock to that end. `statuses` are those of the responses to
    notifications; without an endpoint nothing is posted. The methods in `commands` are actions of
    buyers, banks and the store: all but `buy` have a purchase, which the field `purchase_field`
    names.
    """

    commands: ClassVar[tuple[str, ...]]
    purchase_field: ClassVar[str]

    purchases: dict[str, P] = field(factory=dict[str, P])
    endpoint: str | None = None
    http: httpx.AsyncClient | None = field(default=None, repr=False)
    ahead: timedelta = timedelta()
    statuses: list[int] = field(factory=list[int])
    # Ids are unique across restarts, though the fake then has no purchases any more.
    _ids: count[int] = field(factory=lambda: count(10**15 + randbelow(10**15)), repr=False)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, **by: float) -> None:
        self.ahead += timedelta(**by)

    def reach(self, at: datetime | None) -> None:
        """Move the clock forwards to `at`; never backwards."""
        now = datetime.now(UTC)
        self.ahead = max(self.ahead, (at or now) - now)

    def new_id(self) -> str:
        return str(next(self._ids))

    async def post(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> int | None:
        """Post a notification once, without the repeats of a real store; None: no response."""
        if self.endpoint is None or self.http is None:
            return None
        import httpx

        try:
            response = await self.http.post(self.endpoint, json=body, headers=headers)
        except httpx.HTTPError:
            return None
        self.statuses.append(response.status_code)
        return response.status_code

    @abstractmethod
    def result(self, purchase: P) -> dict[str, Any]:
        """The response to a command."""

    async def run_command(self, name: str, body: str | bytes) -> dict[str, Any]:
        """Raises InvalidCommand, and LookupError for something that does not exist."""
        method = getattr(self, name)
        accepted, required = _fields_of(method)
        if name == "buy":
            return self.result(await method(**read_command(body, accepted, *required)))
        by_purchase = {self.purchase_field: str, **accepted}
        fields = read_command(body, by_purchase, self.purchase_field, *required)
        purchase = self.purchases.get(fields.pop(self.purchase_field))
        if purchase is None:
            raise LookupError("no such purchase")
        await method(purchase, **fields)
        return self.result(purchase)


@asynccontextmanager
async def serve_store(
    listener: Listener, store: S, app: FakeServerApp, http: httpx.AsyncClient | None
) -> AsyncGenerator[S]:
    """Serve a store until the block ends; it is ready when the block begins.

    Notifications are posted through `http`, or through a new client.
    """
    import httpx as httpx_module

    _include_commands(app, store)
    async with httpx_module.AsyncClient(timeout=30, trust_env=False) as own:
        store.http = http or own
        async with listener.serving(app):
            yield store


def _include_commands(app: QuartTrio, store: StoreServer[Any]) -> None:
    """Add `POST /_sandbox/<command>`, for a fake in another process."""

    @app.errorhandler(InvalidCommand)
    async def invalid_command(error: InvalidCommand) -> Response:
        return json_response({"error": str(error)}, 400)

    @app.post("/_sandbox/advance")
    async def advance() -> Response:
        store.ahead += read_duration(await request.get_data())
        return json_response({"now": store.now})

    @app.post("/_sandbox/<name>")
    async def command(name: str) -> Response:
        if name not in store.commands:
            return json_response({"error": f"there is no {name} here"}, 404)
        try:
            return json_response(await store.run_command(name, await request.get_data()))
        except LookupError as error:
            return json_response({"error": error.args[0]}, 404)


def _fields_of(method: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters of a command that are texts, numbers or truth values, and which it needs."""
    fields: dict[str, Any] = {}
    hints = get_type_hints(method)
    for parameter in signature(method).parameters.values():
        hint = hints[parameter.name]
        alternatives = [hint] if get_origin(hint) is Literal else get_args(hint) or [hint]
        kind = next(one for one in alternatives if one is not NoneType)
        if kind in _TYPE_NAMES or get_origin(kind) is Literal:
            fields[parameter.name] = kind
    parameters = signature(method).parameters
    return fields, [name for name in fields if parameters[name].default is Parameter.empty]


def read_command(body: str | bytes, accepted: Fields, *required: str) -> dict[str, Any]:
    """The fields of a command. Raises InvalidCommand unless it is a JSON object of `accepted`."""
    try:
        parsed: object = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise InvalidCommand("the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise InvalidCommand("the body is not a JSON object")
    fields = cast("dict[str, Any]", parsed)
    for name, value in fields.items():
        if name not in accepted:
            names = ", ".join(accepted) or "nothing"
            raise InvalidCommand(f"{name} is not known here, but {names}")
        _check(name, value, accepted[name])
    for name in required:
        if name not in fields:
            raise InvalidCommand(f"{name} is missing")
    if not 1 <= fields.get("percent", 100) <= 100:
        raise InvalidCommand("percent has to be from 1 to 100")
    return fields


def read_duration(body: str | bytes) -> timedelta:
    """How far to move a clock. Raises InvalidCommand."""
    units: Fields = dict.fromkeys(("seconds", "minutes", "hours", "days"), float)
    fields = read_command(body, units)
    try:
        duration = timedelta(**fields)
    except OverflowError:
        duration = MAX_TIME_SHIFT * 2
    if abs(duration) > MAX_TIME_SHIFT:
        raise InvalidCommand(f"{MAX_TIME_SHIFT.days} days is as far as time is moved")
    return duration


def _check(name: str, value: object, kind: Any) -> None:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InvalidCommand(f"{name} has to be one of {', '.join(get_args(kind))}")
    elif kind is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidCommand(f"{name} has to be a number")
    elif type(value) is not kind:
        raise InvalidCommand(f"{name} has to be {_TYPE_NAMES[kind]}")


def without_none(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: the stores leave the others out."""
    return {name: value for name, value in fields.items() if value is not None}


def period_of(product_id: str) -> timedelta:
    return timedelta(days=365 if "year" in product_id else 30)


def price_of(product_id: str) -> int:
    """In cents."""
    monthly, yearly = (999, 9999) if "creator" in product_id else (399, 3999)
    return yearly if "year" in product_id else monthly
