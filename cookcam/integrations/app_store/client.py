"""The App Store's client; open it with `AppStore.open`.

Nothing is imported or connected before the first call: Apple's library takes some tenths of a
second to import, and that happens in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import orjson
import structlog
import trio
from attrs import define, field

from cookcam.integrations.app_store import receipts
from cookcam.integrations.app_store.models import (
    AppleNotification,
    AppleSubscription,
    AppStoreSettings,
    Environment,
)
from cookcam.integrations.app_store.signed import Signatures, is_signed
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
    from appstoreserverlibrary.api_client import AsyncAppStoreServerAPIClient

STORE = "app store"
OTHER: dict[Environment, Environment] = {"production": "sandbox", "sandbox": "production"}


class _OfTheOther(Exception):
    """A receipt of the other environment: no failure, and no answer either."""


@define(eq=False)
class AppStore:
    """Every method raises StoreUnavailable (503) while Apple does not answer in spite of the
    policy's repeats, StoreMisconfigured (also 503) where our settings are missing or refused, and
    StoreRejected (400) for what Apple says is no purchase of ours.
    """

    settings: AppStoreSettings
    calls: StoreCalls = field(factory=StoreCalls)
    _signatures: Signatures = field(init=False)
    _http: LazyHttpClient = field(
        factory=lambda: LazyHttpClient(new_connections), init=False, repr=False
    )
    _apis: dict[Environment, AsyncAppStoreServerAPIClient] = field(
        factory=dict["Environment", "AsyncAppStoreServerAPIClient"], init=False, repr=False
    )
    _opening: trio.Lock = field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._signatures = Signatures(self.settings)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: AppStoreSettings, calls: StoreCalls | None = None
    ) -> AsyncGenerator[AppStore]:
        store = cls(settings, calls or StoreCalls())
        try:
            yield store
        finally:
            await store._http.aclose()

    async def verify(
        self, receipt: str, product_id: str | None, known: Callable[[str], bool]
    ) -> AppleSubscription:
        """The subscription that a receipt, or a signed StoreKit 2 transaction, is about.

        With `product_id` None it is the newest of those that are `known`. What Apple says now
        decides: a signed transaction is looked up, unless there is no key for the Server API.
        """

        async def work() -> AppleSubscription:
            if not is_signed(receipt):
                return await self._verify_receipt(receipt, product_id, known)
            payload = await trio.to_thread.run_sync(self._signatures.transaction, receipt)
            if self.settings.private_key is None:
                return payload
            return await self._status(payload.original_transaction_id, payload.environment)

        return await self.calls.within(work, STORE)

    async def subscription(
        self, original_transaction_id: str, environment: Environment
    ) -> AppleSubscription:
        """What the App Store Server API says of a subscription now."""
        return await self.calls.within(
            lambda: self._status(original_transaction_id, environment), STORE
        )

    async def notification(self, signed: str) -> AppleNotification:
        """A server notification, verified. Raises StoreRejected for a bad signature."""
        return await trio.to_thread.run_sync(self._signatures.notification, signed)

    async def _verify_receipt(
        self, receipt: str, product_id: str | None, known: Callable[[str], bool]
    ) -> AppleSubscription:
        if self.settings.shared_secret is None:
            raise StoreMisconfigured()
        urls: dict[Environment, str] = {
            "production": self.settings.endpoints.verify_receipt,
            "sandbox": self.settings.endpoints.sandbox_verify_receipt,
        }
        environment: Environment = "production"
        for _ in urls:
            try:
                url = urls[environment]
                body = await self.calls.call(lambda url=url: self._ask_receipt(url, receipt))
                return receipts.subscription_of(
                    body, bundle_id=self.settings.bundle_id, product_id=product_id, known=known
                )
            except _OfTheOther:
                environment = OTHER[environment]
        raise StoreUnavailable()  # each says it is the other's

    async def _ask_receipt(self, url: str, receipt: str) -> dict[str, Any]:
        http, secret = await self._http.get(), self.settings.shared_secret
        import httpx

        asked = {
            "receipt-data": receipt,
            "password": secret.reveal() if secret else "",
            "exclude-old-transactions": True,
        }
        try:
            answer = await http.post(url, json=asked)
            body: object = orjson.loads(answer.content)
        except (httpx.HTTPError, ValueError):
            raise StoreUnavailable from None
        if not isinstance(body, dict):
            raise StoreUnavailable
        payload = cast("dict[str, Any]", body)
        status = payload.get("status")
        if not isinstance(status, int):
            raise StoreUnavailable
        if status == 0:
            return payload
        if status in (receipts.SANDBOX_RECEIPT, receipts.PRODUCTION_RECEIPT):
            raise _OfTheOther
        raise receipts.failure_of(status, payload)

    async def _status(self, transaction_id: str, environment: Environment) -> AppleSubscription:
        signed = await self.calls.call(lambda: self._ask_status(transaction_id, environment))
        return await trio.to_thread.run_sync(self._signatures.status, *signed)

    async def _ask_status(
        self, transaction_id: str, environment: Environment
    ) -> tuple[str, str | None, int | None]:
        api = await self._api(environment)
        import httpx
        from appstoreserverlibrary.api_client import APIException
        from cattrs.errors import BaseValidationError

        try:
            # As it came: the library's own reading of the list loses all of it for one bad row.
            payload: dict[str, Any] = await cast("Any", api)._make_request(
                f"/inApps/v1/subscriptions/{quote(transaction_id, safe='')}",
                "GET",
                {},
                None,
                dict[str, Any],
            )
        except (httpx.HTTPError, ValueError, TypeError, KeyError, BaseValidationError):
            raise StoreUnavailable from None
        except APIException as error:
            raise _refusal(error.http_status_code, error.raw_api_error) from None
        for item in _last_transactions(payload):
            if item.get("originalTransactionId") == transaction_id:
                signed, renewal = item.get("signedTransactionInfo"), item.get("signedRenewalInfo")
                status = item.get("status")
                if isinstance(signed, str) and signed:
                    return (
                        signed,
                        renewal if isinstance(renewal, str) else None,
                        status if isinstance(status, int) else None,
                    )
        # It knows the customer, or else this would be a 404, and that is no word about this one.
        raise StoreRejected("The App Store does not tell of the subscription", reason="absent")

    async def _api(self, environment: Environment) -> AsyncAppStoreServerAPIClient:
        http = await self._http.get()
        async with self._opening:
            if environment not in self._apis:
                self._apis[environment] = await trio.to_thread.run_sync(
                    self._new_api, environment, http
                )
            return self._apis[environment]

    def _new_api(
        self, environment: Environment, http: httpx.AsyncClient
    ) -> AsyncAppStoreServerAPIClient:
        """Runs in a thread: imports, and reading the key."""
        from appstoreserverlibrary.api_client import AsyncAppStoreServerAPIClient
        from appstoreserverlibrary.models.Environment import Environment as Theirs

        settings, endpoints = self.settings, self.settings.endpoints
        if not settings.private_key or not settings.key_id or not settings.issuer_id:
            raise StoreMisconfigured()
        sandbox = environment == "sandbox"
        try:
            api = AsyncAppStoreServerAPIClient(
                settings.private_key.reveal().encode(),
                settings.key_id,
                settings.issuer_id,
                settings.bundle_id,
                Theirs.SANDBOX if sandbox else Theirs.PRODUCTION,
            )
        except (ValueError, TypeError):
            structlog.get_logger(__name__).error("the key of the App Store API cannot be read")
            raise StoreMisconfigured from None
        # The library knows Apple's own addresses only, and would open connections of its own.
        url = endpoints.sandbox_server_api if sandbox else endpoints.server_api
        cast("Any", api)._base_url = url
        api.http_client = cast("Any", http)
        return api


def _last_transactions(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The transactions of all groups. One that is none is logged and left out."""
    found: list[dict[str, Any]] = []
    for group in _rows(payload.get("data")):
        found += _rows(group.get("lastTransactions"))
    return found


def _rows(value: object) -> list[dict[str, Any]]:
    rows = cast("list[object]", value) if isinstance(value, list) else []
    good = [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]
    if len(good) < len(rows):
        structlog.get_logger(__name__).error(
            "row of an App Store list cannot be read", count=len(rows) - len(good)
        )
    return good


_TRY_AGAIN = frozenset({4040002, 4040004, 4040006})
"""Apple's codes of what was not found and may be found the next time."""

_UNKNOWN = frozenset({4040005, 4040010})
"""Apple's codes of a transaction that it has not. Its other codes are no word about a subscription,
and a 404 without a code is of a page that is not the API's."""

_NO_SUCH_APP = 4040003


def _refusal(status: int, code: int | None) -> Exception:
    log = structlog.get_logger(__name__)
    if status in (401, 403):
        log.error("the App Store refused our key", status=status)
        return StoreMisconfigured()
    if code in _TRY_AGAIN:
        return StoreUnavailable()
    if status == 404 and code in (None, _NO_SUCH_APP):
        log.error("the App Store does not know our app, or is somewhere else", code=code)
        return StoreMisconfigured()
    log.info("the App Store refused", status=status, code=code)
    if code in _UNKNOWN:
        return StoreRejected("The App Store does not know the subscription", reason=UNKNOWN)
    return StoreRejected(reason=str(code or status))
