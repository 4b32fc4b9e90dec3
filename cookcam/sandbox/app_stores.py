"""Clock, notifications, prices and commands, shared by the two fake app stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from secrets import randbelow
from typing import TYPE_CHECKING, Any

from attrs import define, field
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.commands import (
    Fields,
    InvalidCommand,
    invalid_command,
    read_command,
    read_duration,
)
from cookcam.sandbox.serving import json_response

if TYPE_CHECKING:
    import httpx


@define(eq=False, kw_only=True)
class StoreServer:
    """A store with a clock that is `ahead` of the real time, which posts to `endpoint`.

    Commands that end a period move the clock to that end. `statuses` are those of the responses to
    notifications; without an endpoint nothing is posted.
    """

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


def include_commands(
    app: QuartTrio,
    store: StoreServer,
    commands: Mapping[str, Fields],
    required: Mapping[str, tuple[str, ...]],
    run: Callable[[str, dict[str, Any]], Awaitable[Mapping[str, Any]]],
) -> None:
    """Add `POST /_sandbox/<command>`: an action of buyers or banks, for a fake in another process.

    `run` returns the purchase as JSON. It raises InvalidCommand, and LookupError with a message
    for something that does not exist.
    """
    app.register_error_handler(InvalidCommand, invalid_command)

    @app.post("/_sandbox/advance")
    async def advance() -> Response:
        store.ahead += read_duration(await request.get_data())
        return json_response({"now": store.now})

    @app.post("/_sandbox/<name>")
    async def command(name: str) -> Response:
        if name not in commands:
            return json_response({"error": f"there is no {name} here"}, 404)
        body = await request.get_data()
        fields = read_command(body, commands[name], *required.get(name, required["*"]))
        try:
            return json_response(await run(name, fields))
        except LookupError as error:
            return json_response({"error": error.args[0]}, 404)


def period_of(product_id: str) -> timedelta:
    return timedelta(days=365 if "year" in product_id else 30)


def price_of(product_id: str) -> int:
    """In cents."""
    monthly, yearly = (999, 9999) if "creator" in product_id else (399, 3999)
    return yearly if "year" in product_id else monthly
