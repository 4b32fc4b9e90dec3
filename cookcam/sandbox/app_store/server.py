"""The fake server on a listener, and the object through which tests control it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec
from quart import Response, request

from cookcam.sandbox.app_store.authority import Authority
from cookcam.sandbox.app_store.purchases import (
    ACTIVE,
    BILLING_RETRY,
    EXPIRED,
    GRACE,
    REVOKED,
    Purchase,
    Transaction,
    Where,
)
from cookcam.sandbox.app_stores import InvalidCommand, StoreServer, period_of, price_of, serve_store
from cookcam.sandbox.keys import pem_of, verified_claims
from cookcam.sandbox.serving import (
    Failure,
    FakeServerApp,
    HttpFaults,
    Listener,
    bearer_token,
    json_response,
    upstream_trouble,
)

if TYPE_CHECKING:
    import httpx

BUNDLE_ID = "com.cookcam.app"
APP_ID = 1_600_000_001
SHARED_SECRET = "sandbox-apple-secret"  # noqa: S105 - of the fake alone
ISSUER_ID, KEY_ID = "57246542-96fe-1a63-e053-0824d011072a", "SANDBOXKEY"
GRACE_PERIOD = timedelta(days=6)


@define
class Behaviour(HttpFaults):
    """With `code`, failures are errors of the Server API. Bodies in `receipt_statuses` are the
    next responses of verifyReceipt."""

    code: int | None = None
    receipt_statuses: list[dict[str, Any]] = field(factory=list[dict[str, Any]])


@define(eq=False)
class FakeAppStore(StoreServer[Purchase]):
    """A running fake: `url` is the base of everything it serves.

    The methods below are actions of buyers, banks and Apple; each posts a notification.
    """

    commands = (
        *("buy", "renew", "fail_payment", "end_grace", "set_renewal", "upgrade", "downgrade"),
        *("expire", "refund", "reverse_refund"),
    )
    purchase_field = "id"

    url: str
    authority: Authority
    behaviour: Behaviour
    notifications: list[str] = field(factory=list[str], repr=False)
    shared_secret: str = SHARED_SECRET
    key: ec.EllipticCurvePrivateKey = field(
        factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )

    @property
    def private_key(self) -> str:
        """The key of the Server API as App Store Connect gives it out."""
        return pem_of(self.key)

    @property
    def bindings(self) -> dict[str, str]:
        """The settings of a server that uses it, without the root and `private_key`."""
        return {
            "APPLE_SHARED_SECRET": self.shared_secret,
            "APPLE_BUNDLE_ID": BUNDLE_ID,
            "APPLE_APP_ID": str(APP_ID),
            "APPLE_VERIFY_RECEIPT_URL": f"{self.url}/verifyReceipt",
            "APPLE_SANDBOX_VERIFY_RECEIPT_URL": f"{self.url}/sandbox/verifyReceipt",
            "APPLE_API_URL": self.url,
            "APPLE_SANDBOX_API_URL": f"{self.url}/sandbox",
            "APPLE_API_ISSUER_ID": ISSUER_ID,
            "APPLE_API_KEY_ID": KEY_ID,
        }

    def signed_transaction(self, purchase: Purchase, authority: Authority | None = None) -> str:
        """The signed transaction that the app gets from StoreKit 2."""
        return (authority or self.authority).sign(purchase.transaction_info(self.now))

    async def buy(
        self,
        product_id: str,
        *,
        account_token: str | None = None,
        trial: bool = False,
        where: Where = "Production",
        bundle_id: str = BUNDLE_ID,
        shared: bool = False,
        price_cents: int | None = None,
        currency: str = "USD",
        lasts: timedelta | None = None,
    ) -> Purchase:
        """`shared`: another family member pays. Renewals have the same price, in US dollars."""
        now, price = self.now, 0 if trial else price_of(product_id)
        first = Transaction(
            self.new_id(),
            product_id,
            now,
            now + (lasts or (timedelta(days=3) if trial else period_of(product_id))),
            trial,
            price_cents=price if price_cents is None else price_cents,
            currency=currency,
        )
        purchase = Purchase(first.id, where, bundle_id, [first], account_token, shared)
        self.purchases[purchase.id] = purchase
        await self.notify(purchase, "SUBSCRIBED", "INITIAL_BUY")
        return purchase

    async def renew(self, purchase: Purchase) -> None:
        """Renew at the end of the period, or recover a failed payment."""
        recovered = purchase.status in (BILLING_RETRY, GRACE)
        self._renewed(purchase)
        await self.notify(purchase, "DID_RENEW", "BILLING_RECOVERY" if recovered else None)

    async def fail_payment(self, purchase: Purchase, *, grace: bool = True) -> None:
        self.reach(purchase.newest.expires_at)
        purchase.status = GRACE if grace else BILLING_RETRY
        purchase.grace_until = purchase.newest.expires_at + GRACE_PERIOD if grace else None
        await self.notify(purchase, "DID_FAIL_TO_RENEW", "GRACE_PERIOD" if grace else None)

    async def end_grace(self, purchase: Purchase) -> None:
        self.reach(purchase.grace_until)
        purchase.status, purchase.grace_until = BILLING_RETRY, None
        await self.notify(purchase, "GRACE_PERIOD_EXPIRED")

    async def set_renewal(self, purchase: Purchase, *, renews: bool) -> None:
        self.pass_time()
        purchase.renews = renews
        subtype = "AUTO_RENEW_ENABLED" if renews else "AUTO_RENEW_DISABLED"
        await self.notify(purchase, "DID_CHANGE_RENEWAL_STATUS", subtype)

    async def upgrade(self, purchase: Purchase, product_id: str) -> None:
        """At once: the old transaction is replaced by one for the other product."""
        self.pass_time()
        purchase.replace_newest(upgraded=True)
        purchase.transactions.append(self._transaction(product_id))
        await self.notify(purchase, "DID_CHANGE_RENEWAL_PREF", "UPGRADE")

    async def downgrade(self, purchase: Purchase, product_id: str) -> None:
        """With the next renewal."""
        self.pass_time()
        purchase.renews_to = product_id
        await self.notify(purchase, "DID_CHANGE_RENEWAL_PREF", "DOWNGRADE")

    async def expire(self, purchase: Purchase) -> None:
        self.reach(purchase.newest.expires_at)
        purchase.status, purchase.renews = EXPIRED, False
        await self.notify(purchase, "EXPIRED", "VOLUNTARY")

    async def refund(
        self,
        purchase: Purchase,
        *,
        kind: str = "REFUND",
        periods_ago: int = 0,
        percent: int | None = None,
    ) -> None:
        """Apple refunds a transaction, the newest by default, or revokes a shared one (REVOKE).
        With `percent` it refunds a part."""
        if not 0 <= periods_ago < len(purchase.transactions):
            raise InvalidCommand("periods_ago is before the purchase")
        self.pass_time()
        part = None if percent is None else percent * 1000
        purchase.replace(-1 - periods_ago, revoked_at=self.now, revoked_part=part)
        if periods_ago == 0:
            purchase.status = REVOKED
        await self.notify(purchase, kind, periods_ago=periods_ago)

    async def reverse_refund(self, purchase: Purchase) -> None:
        """Apple reverses the refund of the newest transaction, and the subscription continues."""
        self.pass_time()
        purchase.replace_newest(revoked_at=None, revoked_part=None)
        purchase.status = ACTIVE
        await self.notify(purchase, "REFUND_REVERSED")

    def result(self, purchase: Purchase) -> dict[str, Any]:
        return {
            "id": purchase.id,
            "receipt": purchase.receipt,
            "signed_transaction": self.signed_transaction(purchase),
            "product_id": purchase.newest.product_id,
            "expires_at": purchase.newest.expires_at,
            "status": purchase.status,
        }

    def pass_time(self) -> None:
        """Advance the clock, so that no two events have the same time."""
        self.advance(milliseconds=5)

    def signed_notification(
        self,
        purchase: Purchase | None,
        kind: str,
        subtype: str | None = None,
        *,
        authority: Authority | None = None,
        periods_ago: int = 0,
        **changes: Any,
    ) -> str:
        """`signedPayload`; `changes` replace keys of its `data`."""
        signer, where = authority or self.authority, purchase.where if purchase else "Production"
        data: dict[str, Any] = {
            "appAppleId": APP_ID,
            "bundleId": purchase.bundle_id if purchase else BUNDLE_ID,
            "bundleVersion": "1",
            "environment": where,
        }
        if purchase is not None:
            about = purchase.transactions[-1 - periods_ago]
            data |= {
                "signedTransactionInfo": signer.sign(purchase.transaction_info(self.now, about)),
                "signedRenewalInfo": signer.sign(purchase.renewal_info(self.now)),
                "status": purchase.status,
            }
        return signer.sign(
            {
                "notificationType": kind,
                **({"subtype": subtype} if subtype else {}),
                "notificationUUID": str(uuid4()),
                "version": "2.0",
                "signedDate": int(self.now.timestamp() * 1000),
                "data": {**data, **changes},
            }
        )

    async def notify(
        self, purchase: Purchase, kind: str, subtype: str | None = None, *, periods_ago: int = 0
    ) -> None:
        signed = self.signed_notification(purchase, kind, subtype, periods_ago=periods_ago)
        self.notifications.append(signed)
        await self.deliver(signed)

    async def deliver(self, signed: str) -> int | None:
        """Post a notification once, without Apple's repeats."""
        return await self.post({"signedPayload": signed})

    def _renewed(self, purchase: Purchase) -> None:
        self.reach(purchase.newest.expires_at)
        product_id = purchase.renews_to or purchase.newest.product_id
        purchase.transactions.append(self._transaction(product_id))
        purchase.status, purchase.grace_until, purchase.renews_to = ACTIVE, None, ""
        purchase.renews = True

    def _transaction(self, product_id: str) -> Transaction:
        now = self.now
        price = price_of(product_id)
        return Transaction(
            self.new_id(), product_id, now, now + period_of(product_id), price_cents=price
        )


@asynccontextmanager
async def open_apple(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    authority: Authority | None = None,
    endpoint: str | None = None,
    http: httpx.AsyncClient | None = None,
) -> AsyncGenerator[FakeAppStore]:
    """See `serve_store`. Raises OSError when the port is taken."""
    listener = Listener.open(host, port)
    fake = FakeAppStore(listener.url, authority or Authority.make(), Behaviour(), endpoint=endpoint)
    async with serve_store(listener, fake, create_app(fake), http):
        yield fake


def create_app(fake: FakeAppStore) -> FakeServerApp:
    app = FakeServerApp("cookcam.sandbox.apple")
    behaviour, answer = fake.behaviour, json_response

    def rejection(failure: Failure) -> Response:
        if behaviour.code is None:
            return upstream_trouble(failure)
        error = {"errorCode": behaviour.code, "errorMessage": "as a test wants it"}
        return answer(error, failure.status)

    behaviour.apply_to(app, rejection)

    async def verify(where: Where) -> Response:
        body = orjson.loads(await request.get_data())
        if behaviour.receipt_statuses:
            return answer(behaviour.receipt_statuses.pop(0))
        if body.get("password") != fake.shared_secret:
            return answer({"status": 21004})
        found = (one for one in fake.purchases.values() if one.receipt == body["receipt-data"])
        purchase = next(found, None)
        if purchase is None:
            return answer({"status": 21002})
        if purchase.where != where:
            return answer({"status": 21007 if where == "Production" else 21008})
        return answer(purchase.receipt_info(fake.now))

    @app.post("/verifyReceipt")
    async def verify_production() -> Response:
        return await verify("Production")

    @app.post("/sandbox/verifyReceipt")
    async def verify_sandbox() -> Response:
        return await verify("Sandbox")

    def statuses(transaction_id: str, where: Where) -> Response:
        if not _is_authorised(fake):
            return Response("Unauthenticated\n", status=401)
        purchase = fake.purchases.get(transaction_id)
        if purchase is None or purchase.where != where:
            gone = {"errorCode": 4040005, "errorMessage": "Original transaction id not found."}
            return answer(gone, 404)
        item = {
            "originalTransactionId": purchase.id,
            "status": purchase.status,
            "signedTransactionInfo": fake.signed_transaction(purchase),
            "signedRenewalInfo": fake.authority.sign(purchase.renewal_info(fake.now)),
        }
        group = {"subscriptionGroupIdentifier": "20990001", "lastTransactions": [item]}
        head = {"environment": where, "appAppleId": APP_ID, "bundleId": purchase.bundle_id}
        return answer({**head, "data": [group]})

    @app.get("/inApps/v1/subscriptions/<transaction_id>")
    async def of_production(transaction_id: str) -> Response:
        return statuses(transaction_id, "Production")

    @app.get("/sandbox/inApps/v1/subscriptions/<transaction_id>")
    async def of_sandbox(transaction_id: str) -> Response:
        return statuses(transaction_id, "Sandbox")

    return app


def _is_authorised(fake: FakeAppStore) -> bool:
    import jwt

    token = bearer_token()
    claims = verified_claims(
        token,
        fake.key.public_key(),
        "ES256",
        audience="appstoreconnect-v1",
        issuer=ISSUER_ID,
    )
    if claims is None or claims.get("bid") != BUNDLE_ID:
        return False
    return jwt.get_unverified_header(token)["kid"] == KEY_ID
