"""Client of Google Play; open it with `GooglePlay.open`. It connects on the first call.

Source: Google's reference of the Android Publisher API.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import quote

import orjson
import structlog
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.google_play.access import AccessTokens
from cookcam.integrations.google_play.models import (
    GoogleOrder,
    GoogleSubscription,
    State,
    order_of,
    subscription_of,
)
from cookcam.integrations.http_client import LazyHttpClient
from cookcam.integrations.store_calls import (
    UNKNOWN,
    StoreCalls,
    StoreMisconfigured,
    StoreRejected,
    StoreUnavailable,
    new_connections,
)

if TYPE_CHECKING:
    import httpx

STORE = "google play"
MAX_REPORTED_SHAPES = 100
"""Maximum number of unknown shapes that are logged; Google adds few."""


class UnknownPurchase(StoreRejected):
    """Google has no such purchase, or no longer."""


@define(eq=False)
class GooglePlay:
    """Client of the Google Play Developer API.

    Every method raises StoreUnavailable (503) when Google does not respond after all attempts,
    StoreMisconfigured (also 503) when it rejects our key, and StoreRejected (400) for an invalid
    purchase, including UnknownPurchase.
    """

    api_url: str
    certs_url: str
    package: str
    calls: StoreCalls
    _access: AccessTokens
    _http: LazyHttpClient = field(
        factory=lambda: LazyHttpClient(new_connections), init=False, repr=False
    )
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
        calls: StoreCalls | None = None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncGenerator[GooglePlay]:
        """`clock` gives the seconds since 1970 that assertions carry."""
        play = cls(api_url, certs_url, package, calls or StoreCalls(), AccessTokens(key, clock))
        try:
            yield play
        finally:
            await play._http.aclose()

    async def subscription(self, token: str, known: Callable[[str], bool]) -> GoogleSubscription:
        """What Google says of a purchase token now. `known` tells our products from others."""

        async def once() -> GoogleSubscription:
            as_of = datetime.now(UTC)
            body = await self._ask(
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
                structlog.get_logger(__name__).error("Google's answer cannot be understood")
                raise StoreUnavailable from None

        return await self.calls.within(lambda: self.calls.call(once), STORE)

    def _report_unknown(self, sold: GoogleSubscription) -> None:
        """Logs once what Google tells that this client does not know; the rest is used."""
        shape = "no items" if sold.product_id is None else str(sold.state)
        known = sold.product_id is not None and sold.state in get_args(State)
        if known or shape in self._reported or len(self._reported) >= MAX_REPORTED_SHAPES:
            return
        self._reported.add(shape)
        structlog.get_logger(__name__).error("unknown shape of a Google purchase", shape=shape)

    async def order(self, order_id: str) -> GoogleOrder:
        """Read one order (a payment), in a single attempt: it is supplementary information."""

        async def once() -> GoogleOrder:
            body = await self._ask("GET", self._path(f"orders/{_escaped(order_id)}"))
            try:
                return order_of(body)
            except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
                structlog.get_logger(__name__).error("Google's order cannot be understood")
                raise StoreUnavailable from None

        return await self.calls.call(once, attempts=1)

    async def acknowledge(self, product_id: str, token: str) -> None:
        """Keeps Google from refunding the purchase after three days. Once is enough; one try."""
        path = (
            f"purchases/subscriptions/{_escaped(product_id)}/tokens/{_escaped(token)}:acknowledge"
        )
        await self.calls.call(lambda: self._ask("POST", self._path(path)), attempts=1)

    async def revoke(self, token: str) -> None:
        """Ends a subscription at once and gives back all of its last payment; one try."""
        path = self._path(f"purchases/subscriptionsv2/tokens/{_escaped(token)}:revoke")
        body = {"revocationContext": {"fullRefund": dict[str, Any]()}}
        await self.calls.call(lambda: self._ask("POST", path, body), attempts=1)

    async def push_keys(self) -> Sequence[Mapping[str, Any]]:
        """The public keys of the tokens that Google's services send, as of a JWKS."""
        http = await self._http.get()
        import httpx

        try:
            answer = await http.get(self.certs_url)
            return cast("dict[str, Any]", orjson.loads(answer.content))["keys"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            raise StoreUnavailable from None

    def _path(self, rest: str) -> str:
        package = _escaped(self.package)
        return f"{self.api_url}/androidpublisher/v3/applications/{package}/{rest}"

    async def _ask(
        self, method: str, url: str, payload: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request; a token that is not taken is replaced once: it may have been revoked."""
        http = await self._http.get()
        token = await self._access.get(http)
        answer = await _send(http, method, url, token, payload)
        if answer.status_code == 401:
            self._access.refused(token)
            answer = await _send(http, method, url, await self._access.get(http), payload)
        if answer.status_code not in (200, 204):
            raise _refusal(answer.status_code, answer.content)
        if not answer.content:
            return {}
        try:
            body: object = orjson.loads(answer.content)
        except ValueError:
            raise StoreUnavailable from None
        if not isinstance(body, dict):
            raise StoreUnavailable
        return cast("dict[str, Any]", body)


async def _send(
    http: httpx.AsyncClient, method: str, url: str, token: str, payload: Mapping[str, Any] | None
) -> httpx.Response:
    import httpx

    headers = {"Authorization": f"Bearer {token}"}
    try:
        return await http.request(method, url, headers=headers, json=payload)
    except httpx.HTTPError:
        raise StoreUnavailable from None


_UNKNOWN = frozenset({"purchaseTokenNotFound"})
"""Google's reasons of a 404 for a token that it has not. Others may be about our app's name, and a
404 that does not say is of a page that is not the API's: those are no word about a purchase."""


def _refusal(status: int, body: bytes) -> Exception:
    log = structlog.get_logger(__name__)
    if status in (401, 403):
        log.error("Google refused our key", status=status)
        return StoreMisconfigured()
    if status == 410 or (status == 404 and _UNKNOWN & _reasons(body)):
        return UnknownPurchase(reason=UNKNOWN)
    log.info("Google refused", status=status)
    return StoreRejected(reason=str(status))


def _reasons(body: bytes) -> set[str]:
    """Those of an error; none where it is not written as Google writes them."""
    try:
        payload: Any = orjson.loads(body)
        return {str(error["reason"]) for error in payload["error"]["errors"]}
    except (ValueError, KeyError, TypeError):
        return set()


def _escaped(part: str) -> str:
    return quote(part, safe="")
