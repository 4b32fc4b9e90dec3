"""Client of USDA FoodData Central: search and single foods, within the key's hourly quota.

The key is sent in the header `X-Api-Key` instead of the query parameter `api_key`, so that no URL,
log line or exception of a library contains it.

Source: the published API of FoodData Central.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson
import structlog
import trio
from attrs import define, field, frozen

from cookcam.config.readers import Secret
from cookcam.errors import RetryLater, ServiceAuthError, ServiceError, ServiceUnavailable
from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.integrations.http_client import LazyHttpClient, send_traceparent
from cookcam.integrations.retry import RetryPolicy, log_outage
from cookcam.integrations.trust import trusted

if TYPE_CHECKING:
    import httpx

DEMO_KEY = Secret("DEMO_KEY")
"""USDA's public demo key: 30 requests per hour and address."""

REQUESTS_PER_HOUR = 1000
HOUR = 3600.0
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Bytes; fifty foods with all their nutrients are about one million."""


@define(slots=False, eq=False)
class QuotaExhausted(RetryLater, ServiceUnavailable):
    """USDA's quota is used up."""

    default_message = "The food database is busy, please try again later"

    retry_after: int = field(default=60, kw_only=True)


class _Unreachable(ServiceUnavailable):
    """No response, or a 5xx: the only failure that is retried."""


READ = RetryPolicy(deadline=10.0, attempts=3, initial_delay=0.25, retry_on=(_Unreachable,))


@frozen
class Food:
    """One food; `amounts` are `(nutrient id, amount per 100 g)`."""

    fdc_id: int
    description: str
    data_type: str
    amounts: tuple[tuple[int, float], ...]


@define(eq=False)
class HourlyBudget:
    """Allows `limit` requests in any hour, counting every attempt; `clock` is in seconds.

    `close` blocks it for USDA's Retry-After as well, because other programs may use the key.
    """

    limit: int = REQUESTS_PER_HOUR
    clock: Callable[[], float] = trio.current_time
    _spent: deque[float] = field(factory=deque[float], init=False)
    _closed_until: float = field(default=-math.inf, init=False)

    def spend(self) -> None:
        """Count one request. Raises QuotaExhausted."""
        now = self.clock()
        while self._spent and now - self._spent[0] >= HOUR:
            self._spent.popleft()
        opens = self._closed_until
        if len(self._spent) >= self.limit:
            opens = max(opens, self._spent[0] + HOUR)
        if now < opens:
            raise QuotaExhausted(retry_after=max(1, math.ceil(opens - now)))
        self._spent.append(now)

    def close(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, self.clock() + seconds)


@define(eq=False)
class Usda:
    """The USDA client; open it with `Usda.open`.

    Every call ends within ten seconds and raises ServiceUnavailable when USDA does not respond,
    QuotaExhausted (also a 503) when the quota is used up, ServiceAuthError when it rejects the
    key, and ServiceError for an unexpected response.
    """

    budget: HourlyBudget
    _policy: RetryPolicy
    _breaker: CircuitBreaker | None
    _http: LazyHttpClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        base_url: str,
        api_key: Secret | None = None,
        budget: HourlyBudget | None = None,
        policy: RetryPolicy = READ,
        breaker: CircuitBreaker | None = None,
    ) -> AsyncGenerator[Usda]:
        """Open a client of the service at `base_url`; without a key it uses `DEMO_KEY`."""
        new_connections = partial(_new_connections, base_url, api_key or DEMO_KEY)
        async with aclosing(LazyHttpClient(new_connections)) as http:
            yield cls(budget or HourlyBudget(), policy, breaker, http)

    async def search(self, params: Mapping[str, str | int]) -> dict[str, Any]:
        """Call `GET /foods/search` with `query`, `pageSize` etc. Returns the body unchanged."""
        body = await self._get("/foods/search", params)
        if body is None or not isinstance(body.get("foods"), list):
            raise ServiceError
        return body

    async def food(self, fdc_id: int) -> Food | None:
        """Call `GET /food/{fdcId}`. Returns None for an unknown food."""
        body = await self._get(f"/food/{fdc_id}", {})
        return None if body is None else _food(body)

    async def reachable(self) -> None:
        """Search once for one food; counts against the quota. The caller sets the timeout.

        Raises the errors listed at the class.
        """
        status, _ = await self._once("/foods/search", {"query": "apple", "pageSize": 1})
        if status != 200:
            raise _rejection(status)

    async def _get(self, path: str, params: Mapping[str, str | int]) -> dict[str, Any] | None:
        with log_outage("USDA does not answer"):
            status, content = await self._policy.call(
                lambda: self._once(path, params), self._breaker
            )
        if status == 404:
            return None
        if status != 200:
            structlog.get_logger(__name__).warning("USDA refused", status=status)
            raise _rejection(status)
        try:
            body: object = orjson.loads(content)
        except ValueError:
            raise ServiceError from None
        if not isinstance(body, dict):
            raise ServiceError
        return cast("dict[str, Any]", body)

    async def _once(self, path: str, params: Mapping[str, str | int]) -> tuple[int, bytes]:
        http = await self._http.get()
        import httpx

        self.budget.spend()
        try:
            async with http.stream("GET", path, params=dict(params)) as response:
                if response.status_code == 429:
                    seconds = _retry_after(response)
                    self.budget.close(seconds)
                    raise QuotaExhausted(retry_after=seconds)
                if response.status_code >= 500:
                    raise _Unreachable
                content = bytearray()
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > MAX_RESPONSE_BYTES:
                        raise ServiceError
                return response.status_code, bytes(content)
        except httpx.HTTPError:
            raise _Unreachable from None


def _new_connections(base_url: str, api_key: Secret) -> httpx.AsyncClient:
    """Create the HTTP client. Runs in a thread: it imports httpx and reads the certificates."""
    import httpx

    # The policy's deadline limits the call; these timeouts are per step, as a fallback.
    return httpx.AsyncClient(
        base_url=base_url,
        verify=trusted(),
        headers={"X-Api-Key": api_key.reveal(), "Accept": "application/json"},
        event_hooks={"request": [send_traceparent]},
        timeout=httpx.Timeout(10.0, connect=3.0),
        limits=httpx.Limits(max_connections=10, max_keepalive_connections=5),
    )


def _rejection(status: int) -> ServiceAuthError | ServiceError:
    return ServiceAuthError() if status in (401, 403) else ServiceError()


def _retry_after(response: httpx.Response) -> int:
    """Return USDA's Retry-After in seconds, at most an hour; 60 without one."""
    advice = response.headers.get("retry-after", "")
    return min(int(HOUR), max(1, int(advice))) if advice.isdecimal() and len(advice) < 8 else 60


def _food(body: dict[str, Any]) -> Food:
    fdc_id, description = body.get("fdcId"), body.get("description")
    nutrients: object = body.get("foodNutrients")
    if (
        not isinstance(fdc_id, int)
        or not isinstance(description, str)
        or not isinstance(nutrients, list)
    ):
        raise ServiceError
    amounts = (_amount(entry) for entry in cast("list[object]", nutrients))
    return Food(
        fdc_id,
        description,
        str(body.get("dataType") or ""),
        tuple(amount for amount in amounts if amount is not None),
    )


def _amount(entry: object) -> tuple[int, float] | None:
    """Parse `{"nutrient": {"id": n}, "amount": x}`; entries that are headings have no amount."""
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, Any]", entry)
    nutrient: object = fields.get("nutrient")
    nutrient_id = (
        cast("dict[str, object]", nutrient).get("id") if isinstance(nutrient, dict) else None
    )
    amount: object = fields.get("amount")
    if not isinstance(nutrient_id, int) or isinstance(amount, bool):
        return None
    return (nutrient_id, float(amount)) if isinstance(amount, int | float) else None
