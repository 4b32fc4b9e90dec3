"""Client of the App Store; open it with `AppStore.open`.

It imports Apple's library, which takes some tenths of a second, in a thread on the first call.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
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
from cookcam.integrations.provider_calls import (
    UNKNOWN,
    ProviderCallPolicy,
    ProviderHttpClient,
    ProviderMisconfigured,
    ProviderUnavailable,
    StoreRejected,
)

if TYPE_CHECKING:
    import httpx
    from appstoreserverlibrary.api_client import AsyncAppStoreServerAPIClient

STORE = "app store"
OTHER: dict[Environment, Environment] = {"production": "sandbox", "sandbox": "production"}


class _OtherEnvironment(Exception):
    """The receipt belongs to the other environment."""


@define(eq=False)
class AppStore:
    """Every method raises ProviderUnavailable (503) when Apple does not respond after all attempts,
    ProviderMisconfigured (also 503) when our settings are missing or rejected, and StoreRejected
    (400) for an invalid purchase.
    """

    settings: AppStoreSettings
    calls: ProviderCallPolicy
    _http: ProviderHttpClient
    _signatures: Signatures = field(init=False)
    _apis: dict[Environment, AsyncAppStoreServerAPIClient] = field(
        factory=dict["Environment", "AsyncAppStoreServerAPIClient"], init=False, repr=False
    )
    _opening: trio.Lock = field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._signatures = Signatures(self.settings)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: AppStoreSettings, calls: ProviderCallPolicy | None = None
    ) -> AsyncGenerator[AppStore]:
        async with aclosing(ProviderHttpClient()) as http:
            yield cls(settings, calls or ProviderCallPolicy(), http)

    async def verify(
        self, receipt: str, product_id: str | None, known: Callable[[str], bool]
    ) -> AppleSubscription:
        """The current state of the subscription of a receipt or a signed StoreKit 2 transaction.

        Without `product_id` it is the newest whose product is `known`. A signed transaction is
        looked up at Apple if there is a key for the Server API.
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
        """The current state of a subscription in the App Store Server API."""
        return await self.calls.within(
            lambda: self._status(original_transaction_id, environment), STORE
        )

    async def notification(self, signed: str) -> AppleNotification:
        """Verifies and parses a notification. Raises StoreRejected for an invalid signature."""
        return await trio.to_thread.run_sync(self._signatures.notification, signed)

    async def _verify_receipt(
        self, receipt: str, product_id: str | None, known: Callable[[str], bool]
    ) -> AppleSubscription:
        if self.settings.shared_secret is None:
            raise ProviderMisconfigured()
        urls: dict[Environment, str] = {
            "production": self.settings.endpoints.verify_receipt,
            "sandbox": self.settings.endpoints.sandbox_verify_receipt,
        }
        environment: Environment = "production"
        for _ in urls:
            try:
                url = urls[environment]
                body = await self.calls.call(lambda url=url: self._request_receipt(url, receipt))
                return receipts.subscription_of(
                    body, bundle_id=self.settings.bundle_id, product_id=product_id, known=known
                )
            except _OtherEnvironment:
                environment = OTHER[environment]
        raise ProviderUnavailable()  # each environment names the other

    async def _request_receipt(self, url: str, receipt: str) -> dict[str, Any]:
        secret = self.settings.shared_secret
        payload = {
            "receipt-data": receipt,
            "password": secret.reveal() if secret else "",
            "exclude-old-transactions": True,
        }
        response = await self._http.request("POST", url, json=payload)
        try:
            parsed: object = orjson.loads(response.content)
        except ValueError:
            raise ProviderUnavailable from None
        if not isinstance(parsed, dict):
            raise ProviderUnavailable
        body = cast("dict[str, Any]", parsed)
        status = body.get("status")
        if not isinstance(status, int):
            raise ProviderUnavailable
        if status == 0:
            return body
        if status in (receipts.SANDBOX_RECEIPT, receipts.PRODUCTION_RECEIPT):
            raise _OtherEnvironment
        raise receipts.failure_of(status, body)

    async def _status(self, transaction_id: str, environment: Environment) -> AppleSubscription:
        signed = await self.calls.call(lambda: self._request_status(transaction_id, environment))
        return await trio.to_thread.run_sync(self._signatures.status, *signed)

    async def _request_status(
        self, transaction_id: str, environment: Environment
    ) -> tuple[str, str | None, int | None]:
        api = await self._api(environment)
        import httpx
        from appstoreserverlibrary.api_client import APIException
        from cattrs.errors import BaseValidationError

        try:
            # Unparsed: the library drops the whole list for one malformed row.
            payload: dict[str, Any] = await cast("Any", api)._make_request(
                f"/inApps/v1/subscriptions/{quote(transaction_id, safe='')}",
                "GET",
                {},
                None,
                dict[str, Any],
            )
        except (httpx.HTTPError, ValueError, TypeError, KeyError, BaseValidationError):
            raise ProviderUnavailable from None
        except APIException as error:
            raise _rejection(error.http_status_code, error.raw_api_error) from None
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
        # An unknown customer is a 404, so this says nothing about the subscription.
        raise StoreRejected("The App Store does not tell of the subscription", reason="absent")

    async def _api(self, environment: Environment) -> AsyncAppStoreServerAPIClient:
        http = await self._http.opened()
        async with self._opening:
            if environment not in self._apis:
                self._apis[environment] = await trio.to_thread.run_sync(
                    self._new_api, environment, http
                )
            return self._apis[environment]

    def _new_api(
        self, environment: Environment, http: httpx.AsyncClient
    ) -> AsyncAppStoreServerAPIClient:
        """Runs in a thread: imports, and parsing the key."""
        from appstoreserverlibrary.api_client import AsyncAppStoreServerAPIClient
        from appstoreserverlibrary.models.Environment import Environment as Theirs

        settings, endpoints = self.settings, self.settings.endpoints
        if not settings.private_key or not settings.key_id or not settings.issuer_id:
            raise ProviderMisconfigured()
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
            raise ProviderMisconfigured from None
        # The library has only Apple's own URLs, and would open its own connections.
        url = endpoints.sandbox_server_api if sandbox else endpoints.server_api
        cast("Any", api)._base_url = url
        api.http_client = cast("Any", http)
        return api


def _last_transactions(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The transactions of all groups; malformed ones are logged and left out."""
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
"""Apple's codes of objects that were not found and may be found on a retry."""

_UNKNOWN = frozenset({4040005, 4040010})
"""Apple's codes of an unknown transaction. Other codes say nothing about a subscription, and a 404
without a code is not from the API."""

_NO_SUCH_APP = 4040003


def _rejection(status: int, code: int | None) -> Exception:
    log = structlog.get_logger(__name__)
    if status in (401, 403):
        log.error("the App Store rejected our key", status=status)
        return ProviderMisconfigured()
    if code in _TRY_AGAIN:
        return ProviderUnavailable()
    if status == 404 and code in (None, _NO_SUCH_APP):
        log.error("the App Store does not know our app, or its URL is wrong", code=code)
        return ProviderMisconfigured()
    log.info("the App Store rejected the request", status=status, code=code)
    if code in _UNKNOWN:
        return StoreRejected("The App Store does not know the subscription", reason=UNKNOWN)
    return StoreRejected(reason=str(code or status))
