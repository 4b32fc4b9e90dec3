"""The fake server on a listener, and the object through which tests control it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import trio
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from quart import Response, request

from cookcam.sandbox.app_stores import (
    StoreServer,
    period_of,
    price_of,
    serve_store,
    without_none,
)
from cookcam.sandbox.google_play.keys import AUDIENCE, PUSHER, SERVICE_ACCOUNT, Keys
from cookcam.sandbox.serving import (
    FakeServerApp,
    HttpFaults,
    Listener,
    bearer_token,
    json_response,
)

if TYPE_CHECKING:
    import httpx

PACKAGE = "com.abmccull.cookcamexpo"
SUBSCRIPTION = "projects/sandbox/subscriptions/cookcam-rtdn-subscription"
GRACE_PERIOD = timedelta(days=7)

RECOVERED, RENEWED, CANCELED, PURCHASED, ON_HOLD, IN_GRACE, RESTARTED = 1, 2, 3, 4, 5, 6, 7
PRICE_CHANGED, DEFERRED, PAUSED, PAUSE_SCHEDULE, REVOKED, EXPIRED = 8, 9, 10, 11, 12, 13
PENDING_CANCELED = 20


@define
class Behaviour(HttpFaults):
    """`of_tokens`: the token endpoint fails too. `order_failure` is the status of every response
    about orders: 403 for a key without access to financial data."""

    of_tokens: bool = False
    order_failure: int | None = None

    def may_fail(self, path: str) -> bool:
        return path != "/token" or self.of_tokens


@define(eq=False)
class Order:
    """One payment. `returned_cents` were refunded; Google's fee is `fee_percent` of the rest."""

    id: str
    token: str = field(repr=False)
    product_id: str
    created_at: datetime
    total_cents: int
    currency: str = "USD"
    state: str = "PROCESSED"
    returned_cents: int = 0
    fee_percent: int = 15

    def refund(self, percent: int = 100) -> None:
        self.returned_cents = self.total_cents * percent // 100
        self.state = "REFUNDED" if percent == 100 else "PARTIALLY_REFUNDED"

    def shown(self) -> dict[str, Any]:
        """An `Order`."""
        remaining = self.total_cents - self.returned_cents
        partial = [
            {
                "createTime": _text(self.created_at),
                "state": "PROCESSED_SUCCESSFULLY",
                "refundDetails": {"total": money(self.returned_cents, self.currency)},
            }
        ]
        return {
            "orderId": self.id,
            "purchaseToken": self.token,
            "state": self.state,
            "createTime": _text(self.created_at),
            "lineItems": [{"productId": self.product_id}],
            "total": money(self.total_cents, self.currency),
            "tax": money(0, self.currency),
            "developerRevenueInBuyerCurrency": money(
                remaining * (100 - self.fee_percent) / 100, self.currency
            ),
            "orderHistory": {"partialRefundEvents": partial}
            if self.state == "PARTIALLY_REFUNDED"
            else {},
        }


@define(eq=False)
class Purchase:
    """One purchase token and the state of its subscription."""

    token: str = field(repr=False)
    product_id: str
    state: str
    started_at: datetime
    expires_at: datetime | None
    order_id: str
    account_token: str | None = None
    trial: bool = False
    test: bool = False
    renews: bool = True
    acknowledged: bool = False
    renewals: int = 0
    cancelled_at: datetime | None = None
    cancelled_by: str = "userInitiatedCancellation"
    linked: str | None = None
    gone: bool = False

    @property
    def newest_order(self) -> str:
        return self.order_id + (f"..{self.renewals - 1}" if self.renewals else "")

    def shown(self) -> dict[str, Any]:
        """A `SubscriptionPurchaseV2`."""
        order, price = self.newest_order, money(price_of(self.product_id))
        acknowledged = "ACKNOWLEDGED" if self.acknowledged else "PENDING"
        item = without_none(
            productId=self.product_id,
            latestSuccessfulOrderId=order,
            autoRenewingPlan=without_none(
                recurringPrice=price, autoRenewEnabled=self.renews or None
            ),
            offerDetails={"basePlanId": "standard"},
            offerPhase={"freeTrial": {}} if self.trial else {"basePrice": {}},
            expiryTime=_text(self.expires_at) if self.expires_at else None,
        )
        cancelled = {self.cancelled_by: {"cancelTime": _text(self.cancelled_at or self.started_at)}}
        buyer = {"obfuscatedExternalAccountId": self.account_token}
        return {
            "kind": "androidpublisher#subscriptionPurchaseV2",
            "regionCode": "US",
            "startTime": _text(self.started_at),
            "subscriptionState": f"SUBSCRIPTION_STATE_{self.state}",
            "latestOrderId": order,
            "acknowledgementState": f"ACKNOWLEDGEMENT_STATE_{acknowledged}",
            "lineItems": [item],
            **without_none(
                testPurchase={} if self.test else None,
                linkedPurchaseToken=self.linked,
                canceledStateContext=cancelled if self.cancelled_at else None,
                externalAccountIdentifiers=buyer if self.account_token else None,
            ),
        }


@define(eq=False)
class FakeGooglePlay(StoreServer[Purchase]):
    """A running fake: `url` is what `GOOGLE_PLAY_API_URL` has to be.

    The methods below are actions of buyers, banks and Google; each pushes a notification.
    """

    commands = (
        *("buy", "pay", "drop", "renew", "fail_payment", "hold", "cancel", "restart", "pause"),
        *("expire", "revoke", "void"),
    )
    purchase_field = "purchase_token"

    url: str
    keys: Keys = field(repr=False)
    behaviour: Behaviour
    further_keys: list[RSAPrivateKey] = field(factory=list[RSAPrivateKey], repr=False)
    """Keys of the service account besides that of `keys`."""
    orders: dict[str, Order] = field(factory=dict[str, Order])
    access_tokens: list[str] = field(factory=list[str], repr=False)
    envelopes: list[dict[str, Any]] = field(factory=list[dict[str, Any]], repr=False)

    @property
    def service_account(self) -> str:
        """The value of `GOOGLE_SERVICE_ACCOUNT_KEY`."""
        return self.keys.service_account(f"{self.url}/token")

    @property
    def bindings(self) -> dict[str, str]:
        """The settings of a server that uses it, without `service_account`."""
        return {
            "GOOGLE_PLAY_PACKAGE_NAME": PACKAGE,
            "GOOGLE_PLAY_API_URL": self.url,
            "GOOGLE_CERTS_URL": f"{self.url}/oauth2/v3/certs",
            "GOOGLE_PUSH_AUDIENCE": AUDIENCE,
            "GOOGLE_PUSH_SERVICE_ACCOUNT": PUSHER,
        }

    async def buy(
        self,
        product_id: str,
        *,
        account_token: str | None = None,
        trial: bool = False,
        test: bool = False,
        pending: bool = False,
        instead_of: Purchase | None = None,
        lasts: timedelta | None = None,
    ) -> Purchase:
        now, period = self.now, lasts or (timedelta(days=3) if trial else period_of(product_id))
        purchase = Purchase(
            token=f"{uuid4().hex}.AO-J1O/{uuid4().hex}",
            product_id=product_id,
            state="PENDING" if pending else "ACTIVE",
            started_at=now,
            expires_at=None if pending else now + period,
            order_id=f"GPA.{self.new_id()}",
            account_token=account_token,
            trial=trial,
            test=test,
            linked=instead_of.token if instead_of else None,
        )
        self.purchases[purchase.token] = purchase
        if instead_of is not None:
            instead_of.state, instead_of.expires_at = "EXPIRED", now
            instead_of.cancelled_by, instead_of.cancelled_at = "replacementCancellation", now
        if not pending:
            self._charge(purchase)
            await self.notify(purchase, PURCHASED)
        return purchase

    async def pay(self, purchase: Purchase) -> None:
        """Pay for a pending purchase."""
        purchase.state, purchase.expires_at = "ACTIVE", self.now + period_of(purchase.product_id)
        self._charge(purchase)
        await self.notify(purchase, PURCHASED)

    async def drop(self, purchase: Purchase) -> None:
        """Cancel a pending purchase."""
        purchase.state = "PENDING_PURCHASE_CANCELED"
        await self.notify(purchase, PENDING_CANCELED)

    async def renew(self, purchase: Purchase) -> None:
        """Renew at the end of the period, or recover a failed payment."""
        failed = purchase.state in ("IN_GRACE_PERIOD", "ON_HOLD")
        self.reach(purchase.expires_at)
        purchase.state, purchase.trial = "ACTIVE", False
        purchase.expires_at = self.now + period_of(purchase.product_id)
        purchase.renewals += 1
        self._charge(purchase)
        await self.notify(purchase, RECOVERED if failed else RENEWED)

    async def fail_payment(self, purchase: Purchase) -> None:
        """Begin the grace period, in which access continues."""
        self.reach(purchase.expires_at)
        purchase.state, purchase.expires_at = "IN_GRACE_PERIOD", self.now + GRACE_PERIOD
        await self.notify(purchase, IN_GRACE)

    async def hold(self, purchase: Purchase, *, since: datetime | None = None) -> None:
        self.reach(purchase.expires_at)
        purchase.state, purchase.expires_at = "ON_HOLD", since or self.now
        await self.notify(purchase, ON_HOLD)

    async def cancel(self, purchase: Purchase) -> None:
        purchase.state, purchase.renews, purchase.cancelled_at = "CANCELED", False, self.now
        await self.notify(purchase, CANCELED)

    async def restart(self, purchase: Purchase) -> None:
        purchase.state, purchase.renews, purchase.cancelled_at = "ACTIVE", True, None
        await self.notify(purchase, RESTARTED)

    async def pause(self, purchase: Purchase) -> None:
        purchase.state, purchase.expires_at = "PAUSED", self.now
        await self.notify(purchase, PAUSED)

    async def expire(self, purchase: Purchase) -> None:
        purchase.state, purchase.renews = "EXPIRED", False
        now = self.now
        purchase.expires_at = min(purchase.expires_at or now, now)
        await self.notify(purchase, EXPIRED)

    async def revoke(self, purchase: Purchase, *, percent: int = 100) -> None:
        """Refund `percent` of the newest order and end the subscription at once."""
        purchase.state, purchase.renews, purchase.expires_at = "EXPIRED", False, self.now
        self.orders[purchase.newest_order].refund(percent)
        await self.notify(purchase, REVOKED)

    async def void(self, purchase: Purchase, *, order_id: str | None = None) -> None:
        """Revoke with a voided-purchase notification; for an older order, the subscription
        continues."""
        order = self.orders.get(order_id or purchase.newest_order)
        if order is None:
            raise LookupError("no such order")
        if order_id in (None, purchase.newest_order):
            purchase.state, purchase.renews, purchase.expires_at = "EXPIRED", False, self.now
        order.refund()
        notification = {"purchaseToken": purchase.token, "orderId": order.id, "productType": 1}
        await self.push({"voidedPurchaseNotification": notification})

    def result(self, purchase: Purchase) -> dict[str, Any]:
        return {"purchase_token": purchase.token, **purchase.shown()}

    def _charge(self, purchase: Purchase) -> None:
        cents = 0 if purchase.trial else price_of(purchase.product_id)
        order = Order(purchase.newest_order, purchase.token, purchase.product_id, self.now, cents)
        self.orders[order.id] = order

    async def notify(self, purchase: Purchase, kind: int) -> None:
        notification = {"version": "1.0", "notificationType": kind, "purchaseToken": purchase.token}
        await self.push({"subscriptionNotification": notification})

    def envelope(self, notification: dict[str, Any], package: str = PACKAGE) -> dict[str, Any]:
        """The body of a Pub/Sub push."""
        now = str(int(self.now.timestamp() * 1000))
        data = {"version": "1.0", "packageName": package, "eventTimeMillis": now, **notification}
        message = {
            "data": b64encode(orjson.dumps(data)).decode(),
            "messageId": self.new_id(),
            "publishTime": _text(self.now),
        }
        return {"message": message, "subscription": SUBSCRIPTION}

    async def push(self, notification: dict[str, Any]) -> None:
        envelope = self.envelope(notification)
        self.envelopes.append(envelope)
        await self.deliver(envelope)

    async def deliver(self, envelope: dict[str, Any], token: str | None = None) -> int | None:
        """Post a message once, without Pub/Sub's repeats."""
        headers = {"Authorization": f"Bearer {token or self.keys.push_token()}"}
        return await self.post(envelope, headers)


@asynccontextmanager
async def open_google_play(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    keys: Keys | None = None,
    endpoint: str | None = None,
    http: httpx.AsyncClient | None = None,
) -> AsyncGenerator[FakeGooglePlay]:
    """See `serve_store`. Raises OSError when the port is taken."""
    listener = Listener.open(host, port)
    keys = keys or await trio.to_thread.run_sync(Keys.make)
    fake = FakeGooglePlay(listener.url, keys, Behaviour(), endpoint=endpoint)
    async with serve_store(listener, fake, create_app(fake), http):
        yield fake


def create_app(fake: FakeGooglePlay) -> FakeServerApp:
    app = FakeServerApp("cookcam.sandbox.google_play")
    behaviour, answer = fake.behaviour, json_response
    package = f"/androidpublisher/v3/applications/{PACKAGE}"
    of_app = f"{package}/purchases"

    def rejection(status: int, reason: str) -> Response:
        errors = [{"domain": "androidpublisher", "message": reason, "reason": reason}]
        return answer({"error": {"code": status, "message": reason, "errors": errors}}, status)

    behaviour.apply_to(app)

    @app.before_request
    async def check_token() -> Response | None:
        needs_token = request.path.startswith("/androidpublisher/")
        if needs_token and bearer_token() not in fake.access_tokens:
            return rejection(401, "UNAUTHENTICATED")
        return None

    SERVICE_ACCOUNT.include_token_endpoint(
        app,
        lambda: [fake.keys.account, *fake.further_keys],
        f"{fake.url}/token",
        fake.access_tokens,
    )

    @app.get(of_app + "/subscriptionsv2/tokens/<path:token>")
    async def subscription(token: str) -> Response:
        purchase = fake.purchases.get(token)
        if purchase is None:
            return rejection(404, "purchaseTokenNotFound")
        return (
            rejection(410, "purchaseTokenNoLongerValid")
            if purchase.gone
            else answer(purchase.shown())
        )

    @app.post(of_app + "/subscriptionsv2/tokens/<path:token>")
    async def revoke(token: str) -> Response:
        token, _, action = token.rpartition(":")
        purchase = fake.purchases.get(token)
        if purchase is None or action != "revoke":
            return rejection(404, "purchaseTokenNotFound")
        if purchase.state in ("EXPIRED", "PENDING"):
            return rejection(400, "INVALID_ARGUMENT")
        await fake.revoke(purchase)
        return answer({})

    @app.get(package + "/orders/<order_id>")
    async def order(order_id: str) -> Response:
        if behaviour.order_failure is not None:
            return rejection(behaviour.order_failure, "permissionDenied")
        found = fake.orders.get(order_id)
        return answer(found.shown()) if found else rejection(404, "orderNotFound")

    @app.post(of_app + "/subscriptions/<product_id>/tokens/<path:token>")
    async def acknowledge(product_id: str, token: str) -> Response:
        token, _, action = token.rpartition(":")
        purchase = fake.purchases.get(token)
        if purchase is None or purchase.product_id != product_id or action != "acknowledge":
            return rejection(404, "purchaseTokenNotFound")
        if purchase.state == "PENDING":
            return rejection(400, "INVALID_ARGUMENT")
        purchase.acknowledged = True
        return Response(status=204)

    @app.get("/oauth2/v3/certs")
    async def certs() -> Response:
        return answer(fake.keys.public())

    return app


def money(cents: float, currency: str = "USD") -> dict[str, Any]:
    """A `Money`; Google leaves out what is zero."""
    units, rest = divmod(round(cents * 10**7), 10**9)
    return without_none(
        currencyCode=currency, units=str(units) if units else None, nanos=rest or None
    )


def _text(time: datetime) -> str:
    """RFC 3339, with milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
