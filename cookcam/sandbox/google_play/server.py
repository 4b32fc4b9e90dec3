"""The stand-in on a listener, and the handle that tests and the sandbox hold on it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from secrets import randbelow
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import orjson
import trio
from attrs import define, field
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.commands import Mistake, Words, mistaken, span_of, told, words_of
from cookcam.sandbox.google_play.keys import ACCOUNT, AUDIENCE, PUSHER, Keys
from cookcam.sandbox.listening import Listener

if TYPE_CHECKING:
    import httpx

PACKAGE = "com.abmccull.cookcamexpo"
SUBSCRIPTION = "projects/sandbox/subscriptions/cookcam-rtdn-subscription"
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRACE_PERIOD = timedelta(days=7)

RECOVERED, RENEWED, CANCELED, PURCHASED, ON_HOLD, IN_GRACE, RESTARTED = 1, 2, 3, 4, 5, 6, 7
PRICE_CHANGED, DEFERRED, PAUSED, PAUSE_SCHEDULE, REVOKED, EXPIRED = 8, 9, 10, 11, 12, 13
PENDING_CANCELED = 20


@define
class Behaviour:
    """What a test may change while the stand-in runs.

    While `failures` is above 0, answers have `status` and count it down, those of the token too
    if `of_tokens`. `delay` is in seconds; `garbled` answers are cut in half. `order_failure` is
    the status of every answer about orders: 403 of a key that may see no finances.
    """

    delay: float = 0.0
    failures: int = 0
    status: int = 500
    of_tokens: bool = False
    retry_after: int | None = None
    garbled: bool = False
    order_failure: int | None = None
    requests: list[str] = field(factory=list[str])


@define(eq=False)
class Order:
    """One payment. What is `returned` went back to the buyer; Google keeps `fee_percent` of it."""

    id: str
    token: str = field(repr=False)
    product_id: str
    created_at: datetime
    total_cents: int
    currency: str = "USD"
    state: str = "PROCESSED"
    returned_cents: int = 0
    fee_percent: int = 15

    def give_back(self, percent: int = 100) -> None:
        self.returned_cents = self.total_cents * percent // 100
        self.state = "REFUNDED" if percent == 100 else "PARTIALLY_REFUNDED"

    def shown(self) -> dict[str, Any]:
        """An `Order`."""
        kept = self.total_cents - self.returned_cents
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
                kept * (100 - self.fee_percent) / 100, self.currency
            ),
            "orderHistory": {"partialRefundEvents": partial}
            if self.state == "PARTIALLY_REFUNDED"
            else {},
        }


@define(eq=False)
class Bought:
    """One purchase token and what Google knows of it."""

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
        item: dict[str, Any] = {
            "productId": self.product_id,
            "latestSuccessfulOrderId": order,
            "autoRenewingPlan": {
                "recurringPrice": price,
                **({"autoRenewEnabled": True} if self.renews else {}),
            },
            "offerDetails": {"basePlanId": "standard"},
            "offerPhase": {"freeTrial": {}} if self.trial else {"basePrice": {}},
        }
        if self.expires_at is not None:
            item["expiryTime"] = _text(self.expires_at)
        return {
            "kind": "androidpublisher#subscriptionPurchaseV2",
            "regionCode": "US",
            "startTime": _text(self.started_at),
            "subscriptionState": f"SUBSCRIPTION_STATE_{self.state}",
            "latestOrderId": order,
            "acknowledgementState": f"ACKNOWLEDGEMENT_STATE_{acknowledged}",
            "lineItems": [item],
            **({"testPurchase": {}} if self.test else {}),
            **({"linkedPurchaseToken": self.linked} if self.linked else {}),
            **(
                {
                    "canceledStateContext": {
                        self.cancelled_by: {"cancelTime": _text(self.cancelled_at)}
                    }
                }
                if self.cancelled_at
                else {}
            ),
            **(
                {"externalAccountIdentifiers": {"obfuscatedExternalAccountId": self.account_token}}
                if self.account_token
                else {}
            ),
        }


@define(eq=False)
class FakeGooglePlay:
    """A running stand-in. `url` is what `GOOGLE_PLAY_API_URL` has to be.

    What the methods below do, people and banks do at Google; each happens at Google's time `now`
    and pushes a notification to `endpoint`, if there is one. `statuses` are the answers. That time
    goes on with the real one, `ahead` of it by what `advance` and the ends of periods made it.
    """

    url: str
    keys: Keys = field(repr=False)
    behaviour: Behaviour
    endpoint: str | None = None
    http: httpx.AsyncClient | None = field(default=None, repr=False)
    ahead: timedelta = timedelta()
    bought: dict[str, Bought] = field(factory=dict[str, Bought])
    orders: dict[str, Order] = field(factory=dict[str, Order])
    access_tokens: list[str] = field(factory=list[str], repr=False)
    envelopes: list[dict[str, Any]] = field(factory=list[dict[str, Any]], repr=False)
    statuses: list[int] = field(factory=list[int])
    # Google never gives an id twice, whatever was forgotten meanwhile.
    _ids: count[int] = field(factory=lambda: count(10**15 + randbelow(10**15)), repr=False)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @property
    def service_account(self) -> str:
        """What `GOOGLE_SERVICE_ACCOUNT_KEY` has to be."""
        return self.keys.service_account(f"{self.url}/token")

    @property
    def bindings(self) -> dict[str, str]:
        """The settings that tie a server to it, but for `service_account`."""
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
        instead_of: Bought | None = None,
        lasts: timedelta | None = None,
    ) -> Bought:
        now, period = self.now, lasts or (timedelta(days=3) if trial else period_of(product_id))
        bought = Bought(
            token=f"{uuid4().hex}.AO-J1O/{uuid4().hex}",
            product_id=product_id,
            state="PENDING" if pending else "ACTIVE",
            started_at=now,
            expires_at=None if pending else now + period,
            order_id=f"GPA.{next(self._ids)}",
            account_token=account_token,
            trial=trial,
            test=test,
            linked=instead_of.token if instead_of else None,
        )
        self.bought[bought.token] = bought
        if instead_of is not None:
            instead_of.state, instead_of.expires_at = "EXPIRED", now
            instead_of.cancelled_by, instead_of.cancelled_at = "replacementCancellation", now
        if not pending:
            self._charge(bought)
            await self.notify(bought, PURCHASED)
        return bought

    async def pay(self, bought: Bought) -> None:
        """A pending purchase is paid for."""
        bought.state, bought.expires_at = "ACTIVE", self.now + period_of(bought.product_id)
        self._charge(bought)
        await self.notify(bought, PURCHASED)

    async def drop(self, bought: Bought) -> None:
        """A pending purchase is given up."""
        bought.state = "PENDING_PURCHASE_CANCELED"
        await self.notify(bought, PENDING_CANCELED)

    async def renew(self, bought: Bought) -> None:
        """At the end of the period; of a failed one it is the recovery."""
        failed = bought.state in ("IN_GRACE_PERIOD", "ON_HOLD")
        self.reach(bought.expires_at)
        bought.state, bought.trial = "ACTIVE", False
        bought.expires_at = self.now + period_of(bought.product_id)
        bought.renewals += 1
        self._charge(bought)
        await self.notify(bought, RECOVERED if failed else RENEWED)

    async def fail_payment(self, bought: Bought) -> None:
        """A period of grace begins, and access goes on in it."""
        self.reach(bought.expires_at)
        bought.state, bought.expires_at = "IN_GRACE_PERIOD", self.now + GRACE_PERIOD
        await self.notify(bought, IN_GRACE)

    async def hold(self, bought: Bought, *, since: datetime | None = None) -> None:
        self.reach(bought.expires_at)
        bought.state, bought.expires_at = "ON_HOLD", since or self.now
        await self.notify(bought, ON_HOLD)

    async def cancel(self, bought: Bought) -> None:
        bought.state, bought.renews, bought.cancelled_at = "CANCELED", False, self.now
        await self.notify(bought, CANCELED)

    async def restart(self, bought: Bought) -> None:
        bought.state, bought.renews, bought.cancelled_at = "ACTIVE", True, None
        await self.notify(bought, RESTARTED)

    async def pause(self, bought: Bought) -> None:
        bought.state, bought.expires_at = "PAUSED", self.now
        await self.notify(bought, PAUSED)

    async def expire(self, bought: Bought) -> None:
        bought.state, bought.renews = "EXPIRED", False
        now = self.now
        bought.expires_at = min(bought.expires_at or now, now)
        await self.notify(bought, EXPIRED)

    async def revoke(self, bought: Bought, *, percent: int = 100) -> None:
        """Google gives the money back, or that part, and ends the subscription at once."""
        bought.state, bought.renews, bought.expires_at = "EXPIRED", False, self.now
        self.orders[bought.newest_order].give_back(percent)
        await self.notify(bought, REVOKED)

    async def void(self, bought: Bought, *, order_id: str | None = None) -> None:
        """The same, told as a voided purchase; of another order than the newest, the subscription
        goes on."""
        if order_id in (None, bought.newest_order):
            bought.state, bought.renews, bought.expires_at = "EXPIRED", False, self.now
        order = self.orders[order_id or bought.newest_order]
        order.give_back()
        told = {"purchaseToken": bought.token, "orderId": order.id, "productType": 1}
        await self.push({"voidedPurchaseNotification": told})

    def advance(self, **by: float) -> None:
        self.ahead += timedelta(**by)

    def reach(self, at: datetime | None) -> None:
        """It is that time now, if it was earlier."""
        now = datetime.now(UTC)
        self.ahead = max(self.ahead, (at or now) - now)

    def _charge(self, bought: Bought) -> None:
        cents = 0 if bought.trial else price_of(bought.product_id)
        order = Order(bought.newest_order, bought.token, bought.product_id, self.now, cents)
        self.orders[order.id] = order

    async def notify(self, bought: Bought, kind: int) -> None:
        told = {"version": "1.0", "notificationType": kind, "purchaseToken": bought.token}
        await self.push({"subscriptionNotification": told})

    def envelope(self, told: dict[str, Any], package: str = PACKAGE) -> dict[str, Any]:
        """What Pub/Sub posts."""
        now = str(int(self.now.timestamp() * 1000))
        data = {"version": "1.0", "packageName": package, "eventTimeMillis": now, **told}
        message = {
            "data": b64encode(orjson.dumps(data)).decode(),
            "messageId": str(next(self._ids)),
            "publishTime": _text(self.now),
        }
        return {"message": message, "subscription": SUBSCRIPTION}

    async def push(self, told: dict[str, Any]) -> None:
        envelope = self.envelope(told)
        self.envelopes.append(envelope)
        await self.deliver(envelope)

    async def deliver(self, envelope: dict[str, Any], token: str | None = None) -> int | None:
        """Posts a message once; Pub/Sub would come back for one that is not taken."""
        if self.endpoint is None or self.http is None:
            return None
        headers = {"Authorization": f"Bearer {token or self.keys.push_token()}"}
        import httpx

        try:
            answer = await self.http.post(self.endpoint, json=envelope, headers=headers)
        except httpx.HTTPError:
            return None  # nobody is there
        self.statuses.append(answer.status_code)
        return answer.status_code


@asynccontextmanager
async def open_google_play(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    keys: Keys | None = None,
    endpoint: str | None = None,
    http: httpx.AsyncClient | None = None,
) -> AsyncGenerator[FakeGooglePlay]:
    """Serves the stand-in until the block ends; it answers when the block begins.

    Notifications go to `endpoint` through `http`, or a client of its own. Raises OSError when the
    port is taken.
    """
    import httpx as httpx_module

    listener = Listener.open(host, port)
    async with httpx_module.AsyncClient(timeout=30, trust_env=False) as own:
        keys = keys or await trio.to_thread.run_sync(Keys.make)
        fake = FakeGooglePlay(listener.url, keys, Behaviour(), endpoint, http or own)
        async with listener.serving(create_app(fake)):
            yield fake


def create_app(fake: FakeGooglePlay) -> QuartTrio:
    app = QuartTrio("cookcam.sandbox.google_play")
    behaviour = fake.behaviour
    package = f"/androidpublisher/v3/applications/{PACKAGE}"
    of_app = f"{package}/purchases"

    def answer(body: Any, status: int = 200) -> Response:
        content = orjson.dumps(body)
        if behaviour.garbled:
            content = content[: len(content) // 2]
        return Response(content, status=status, content_type="application/json")

    def refusal(status: int, reason: str) -> Response:
        errors = [{"domain": "androidpublisher", "message": reason, "reason": reason}]
        return answer({"error": {"code": status, "message": reason, "errors": errors}}, status)

    @app.before_request
    async def trouble() -> Response | None:
        if request.path.startswith("/_sandbox/"):
            return None
        behaviour.requests.append(f"{request.method} {request.path}")
        if behaviour.delay:
            await trio.sleep(behaviour.delay)
        if behaviour.failures > 0 and (request.path != "/token" or behaviour.of_tokens):
            behaviour.failures -= 1
            failed = Response("upstream trouble", status=behaviour.status)
            if behaviour.retry_after is not None:
                failed.headers["Retry-After"] = str(behaviour.retry_after)
            return failed
        if request.path.startswith("/androidpublisher/"):
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if given not in fake.access_tokens:
                return refusal(401, "UNAUTHENTICATED")
        return None

    @app.post("/token")
    async def token() -> Response:
        if not _is_assertion(fake, str((await cast("Any", request).form)["assertion"])):
            return answer({"error": "invalid_grant"}, 400)
        fake.access_tokens.append(f"ya29.{uuid4().hex}")
        return answer(
            {
                "access_token": fake.access_tokens[-1],
                "expires_in": 3599,
                "token_type": "Bearer",
            }
        )

    @app.get(of_app + "/subscriptionsv2/tokens/<path:purchase>")
    async def subscription(purchase: str) -> Response:
        bought = fake.bought.get(purchase)
        if bought is None:
            return refusal(404, "purchaseTokenNotFound")
        return refusal(410, "purchaseTokenNoLongerValid") if bought.gone else answer(bought.shown())

    @app.post(of_app + "/subscriptionsv2/tokens/<path:purchase>")
    async def revoke(purchase: str) -> Response:
        token, _, deed = purchase.rpartition(":")
        bought = fake.bought.get(token)
        if bought is None or deed != "revoke":
            return refusal(404, "purchaseTokenNotFound")
        if bought.state in ("EXPIRED", "PENDING"):
            return refusal(400, "INVALID_ARGUMENT")
        await fake.revoke(bought)
        return answer({})

    @app.get(package + "/orders/<order_id>")
    async def order(order_id: str) -> Response:
        if behaviour.order_failure is not None:
            return refusal(behaviour.order_failure, "permissionDenied")
        found = fake.orders.get(order_id)
        return answer(found.shown()) if found else refusal(404, "orderNotFound")

    @app.post(of_app + "/subscriptions/<product_id>/tokens/<path:purchase>")
    async def acknowledge(product_id: str, purchase: str) -> Response:
        token, _, deed = purchase.rpartition(":")
        bought = fake.bought.get(token)
        if bought is None or bought.product_id != product_id or deed != "acknowledge":
            return refusal(404, "purchaseTokenNotFound")
        if bought.state == "PENDING":
            return refusal(400, "INVALID_ARGUMENT")
        bought.acknowledged = True
        return Response(status=204)

    @app.get("/oauth2/v3/certs")
    async def certs() -> Response:
        return answer(fake.keys.public())

    _control(app, fake)
    return app


def _is_assertion(fake: FakeGooglePlay, assertion: str) -> bool:
    import jwt

    try:
        claims = jwt.decode(
            assertion,
            fake.keys.account.public_key(),
            algorithms=["RS256"],
            audience=f"{fake.url}/token",
            issuer=ACCOUNT,
        )
    except jwt.PyJWTError:
        return False
    return claims["scope"] == SCOPE and claims["exp"] - claims["iat"] <= 3600


BUY: Words = {
    "product_id": str,
    "account_token": str,
    "trial": bool,
    "test": bool,
    "pending": bool,
}
DEEDS: Mapping[str, Words] = {
    "pay": {},
    "drop": {},
    "renew": {},
    "fail_payment": {},
    "hold": {},
    "cancel": {},
    "restart": {},
    "pause": {},
    "expire": {},
    "revoke": {"percent": int},
    "void": {"order_id": str},
}
"""Methods of the stand-in that are paths as well, with what they take."""


def _control(app: QuartTrio, fake: FakeGooglePlay) -> None:
    """`POST /_sandbox/<deed>`: what people do, for a stand-in in a process of its own."""
    app.register_error_handler(Mistake, mistaken)

    def shown(bought: Bought) -> Response:
        return told({"purchase_token": bought.token, **bought.shown()})

    @app.post("/_sandbox/buy")
    async def buy() -> Response:
        asked = words_of(await request.get_data(), BUY, "product_id")
        return shown(await fake.buy(**asked))

    @app.post("/_sandbox/advance")
    async def advance() -> Response:
        fake.ahead += span_of(await request.get_data())
        return told({"now": fake.now})

    @app.post("/_sandbox/<deed>")
    async def do(deed: str) -> Response:
        if deed not in DEEDS:
            return told({"error": f"there is no {deed} here"}, 404)
        words = {"purchase_token": str, **DEEDS[deed]}
        asked = words_of(await request.get_data(), words, "purchase_token")
        bought = fake.bought.get(asked.pop("purchase_token"))
        if bought is None:
            return told({"error": "no such purchase"}, 404)
        if asked.get("order_id", bought.newest_order) not in fake.orders:
            return told({"error": "no such order"}, 404)
        await getattr(fake, deed)(bought, **asked)
        return shown(bought)


def period_of(product_id: str) -> timedelta:
    return timedelta(days=365 if "year" in product_id else 30)


def price_of(product_id: str) -> int:
    """In cents."""
    monthly, yearly = (999, 9999) if "creator" in product_id else (399, 3999)
    return yearly if "year" in product_id else monthly


def money(cents: float, currency: str = "USD") -> dict[str, Any]:
    """A `Money`; Google leaves out what is zero."""
    units, rest = divmod(round(cents * 10**7), 10**9)
    return {
        "currencyCode": currency,
        **({"units": str(units)} if units else {}),
        **({"nanos": rest} if rest else {}),
    }


def _text(time: datetime) -> str:
    """RFC 3339, with milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
