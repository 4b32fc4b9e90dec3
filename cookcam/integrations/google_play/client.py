"""Client of Google Play; open it with `GooglePlay.open`. It connects on the first call.

Source: Google's reference of the Android Publisher API.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import quote

import orjson
import structlog
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.bearer_tokens import BearerTokens
from cookcam.integrations.google_play.access import access_tokens
from cookcam.integrations.google_play.models import (
    GoogleOrder,
    GoogleSubscription,
    State,
    order_of,
    subscription_of,
)
from cookcam.integrations.provider_calls import (
    UNKNOWN,
    ProviderCallPolicy,
    ProviderHttpClient,
    ProviderMisconfigured,
    ProviderUnavailable,
    StoreRejected,
    UnreadableResponse,
)

if TYPE_CHECKING:
    import httpx

STORE = "google play"
MAX_REPORTED_SHAPES = 100
"""Maximum number of unknown shapes that are logged; Google adds few."""


class UnknownPurchase(StoreRejected):
    """Google does not have the purchase, or no longer has it."""


@define(eq=False)
class GooglePlay:
    """Client of the Google Play Developer API.

    Every method raises ProviderUnavailable (503) when Google does not respond after all attempts,
    ProviderMisconfigured (also 503) when it rejects our key, and StoreRejected (400) for an invalid
    purchase, including UnknownPurchase.
    """

    api_url: str
    certs_url: str
    package: str
    calls: ProviderCallPolicy
    _http: ProviderHttpClient
    _tokens: BearerTokens
    _reported: set[str] = field(factory=set[str], init=False)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        api_url: str,
        certs_url: str,
        package: str,
        key: Secret | None,
        calls: ProviderCallPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[GooglePlay]:
        """`clock` returns the seconds since 1970 for the assertions."""
        async with aclosing(ProviderHttpClient()) as http:
            tokens = access_tokens(key, http, clock)
            yield cls(api_url, certs_url, package, calls or ProviderCallPolicy(), http, tokens)

    async def subscription(self, token: str, known: Callable[[str], bool]) -> GoogleSubscription:
        """The current state of a purchase token. `known` tells whether a product is ours."""

        async def once() -> GoogleSubscription:
            as_of = datetime.now(UTC)
            body = await self._request(
                "GET", self._path(f"purchases/subscriptionsv2/tokens/{_escaped(token)}")
            )
            try:
                sold = subscription_of(token, body, as_of, known)
                self._report_unknown(sold)
                return sold
            except (
                KeyError,
                TypeError,
                ValueError,
                ArithmeticError,
                AttributeError,
            ):
                structlog.get_logger(__name__).error("Google's response cannot be parsed")
                raise UnreadableResponse from None

        return await self.calls.within(lambda: self.calls.call(once), STORE)

    def _report_unknown(self, sold: GoogleSubscription) -> None:
        """Logs an unknown state or a purchase without items once; the rest of it is used."""
        shape = "no items" if sold.product_id is None else str(sold.state)
        known = sold.product_id is not None and sold.state in get_args(State)
        if known or shape in self._reported or len(self._reported) >= MAX_REPORTED_SHAPES:
            return
        self._reported.add(shape)
        structlog.get_logger(__name__).error("unknown shape of a Google purchase", shape=shape)

    async def order(self, order_id: str) -> GoogleOrder:
        """Read one order (a payment), in a single attempt: it is supplementary information."""

        async def once() -> GoogleOrder:
            body = await self._request("GET", self._path(f"orders/{_escaped(order_id)}"))
            try:
                return order_of(body)
            except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
                structlog.get_logger(__name__).error("Google's order cannot be parsed")
                raise UnreadableResponse from None

        return await self.calls.call(once, attempts=1)

    async def acknowledge(self, product_id: str, token: str) -> None:
        """Acknowledges a purchase, which Google otherwise refunds after three days; one attempt."""
        path = (
            f"purchases/subscriptions/{_escaped(product_id)}/tokens/{_escaped(token)}:acknowledge"
        )
        await self.calls.call(lambda: self._request("POST", self._path(path)), attempts=1)

    async def revoke(self, token: str) -> None:
        """Ends a subscription at once and refunds its last payment; one attempt."""
        path = self._path(f"purchases/subscriptionsv2/tokens/{_escaped(token)}:revoke")
        body = {"revocationContext": {"fullRefund": dict[str, Any]()}}
        await self.calls.call(lambda: self._request("POST", path, body), attempts=1)

    async def push_keys(self) -> Sequence[Mapping[str, Any]]:
        """The public keys (JWKS) of the tokens that Google's services send."""
        response = await self._http.request("GET", self.certs_url)
        try:
            return cast("dict[str, Any]", orjson.loads(response.content))["keys"]
        except (ValueError, KeyError, TypeError):
            raise ProviderUnavailable from None

    def _path(self, rest: str) -> str:
        package = _escaped(self.package)
        return f"{self.api_url}/androidpublisher/v3/applications/{package}/{rest}"

    async def _request(
        self, method: str, url: str, payload: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        async def send(token: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return await self._http.request(method, url, headers=headers, json=payload)

        response = await self._tokens.send(send, lambda response: response.status_code == 401)
        if response.status_code not in (200, 204):
            raise _rejection(response.status_code, response.content)
        if not response.content:
            return {}
        try:
            body: object = orjson.loads(response.content)
        except ValueError:
            raise ProviderUnavailable from None
        if not isinstance(body, dict):
            raise ProviderUnavailable
        return cast("dict[str, Any]", body)


_UNKNOWN = frozenset({"purchaseTokenNotFound"})
"""Google's reasons of a 404 for an unknown token. Other reasons may be about our package name, and
a 404 without a reason is not from the API: they say nothing about a purchase."""


def _rejection(status: int, body: bytes) -> Exception:
    log = structlog.get_logger(__name__)
    if status in (401, 403):
        log.error("Google rejected our key", status=status)
        return ProviderMisconfigured()
    if status == 410 or (status == 404 and _UNKNOWN & _reasons(body)):
        return UnknownPurchase(reason=UNKNOWN)
    log.info("Google rejected the request", status=status)
    return StoreRejected(reason=str(status))


def _reasons(body: bytes) -> set[str]:
    """The reasons of an error; empty for another shape."""
    try:
        payload: Any = orjson.loads(body)
        return {str(error["reason"]) for error in payload["error"]["errors"]}
    except (ValueError, KeyError, TypeError):
        return set()


def _escaped(part: str) -> str:
    return quote(part, safe="")
