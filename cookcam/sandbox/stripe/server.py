"""The fake server on a listener, and the object through which tests control it.

A bare ASGI application: it must be fast enough for a hundred thousand subscriptions, and
able to hang, cut and lose responses.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import orjson
import trio
from attrs import define, field

from cookcam.sandbox import serving
from cookcam.sandbox.serving import Listener, Receive, Scope, Send
from cookcam.sandbox.stripe import control, shapes
from cookcam.sandbox.stripe.api import Api
from cookcam.sandbox.stripe.behaviour import Behaviour, Card, Fault
from cookcam.sandbox.stripe.billing import Billing
from cookcam.sandbox.stripe.faults import ApiFault, staged
from cookcam.sandbox.stripe.forms import read_form
from cookcam.sandbox.stripe.money import Money
from cookcam.sandbox.stripe.outbox import Endpoint, Outbox
from cookcam.sandbox.stripe.pages import Pages
from cookcam.sandbox.stripe.requests import Reply, Request, RequestHandler, reply_of
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.state import StripeState
from cookcam.sandbox.stripe.store import Store
from cookcam.sandbox.stripe.subscriptions import Subscription

KEY = "sk_test_sandbox"
"""The default key. All keys are accepted unless `open_stripe` gets one."""

WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 # signs the sandbox's own events
CONNECT_WEBHOOK_SECRET = "whsec_sandbox_connect"  # noqa: S105


@define(eq=False)
class FakeStripe(Money):
    """A running fake. `url` is the value for `STRIPE_API_BASE`, `key` the one for
    `STRIPE_SECRET_KEY`.

    `outbox` delivers the events; `behaviour` may be changed at any time. `requests` are method and
    path of the API requests so far. The methods below and those of `Money` are actions of payers,
    creators and banks, at the simulated time `now`.
    """

    url: str
    key: str = field(repr=False)
    behaviour: Behaviour
    outbox: Outbox
    requests: list[str]
    _api: Api = field(repr=False)

    @property
    def now(self) -> int:
        return self._store.now

    @property
    def events(self) -> list[Body]:
        """All events so far, oldest first."""
        return self._store.all("event")

    def objects(self, kind: str) -> list[Body]:
        """All objects of a kind, "invoice" for instance, oldest first, as the API shows them."""
        return [self.state.wire(value) for value in self._store.all(kind)]

    def get(self, kind: str, object_id: str) -> Body:
        return self.state.wire(self._store.get(kind, object_id))

    def advance(self, seconds: float) -> None:
        """Advance the simulated time; due renewals, retries and ends happen on the way."""
        self._api.billing.advance(self.now + int(seconds))

    def advance_to(self, moment: int) -> None:
        self._api.billing.advance(moment)

    def pay(self, session_id: str, card: Card = "success", *, later: bool = False) -> Body:
        """Pay on the page of a checkout; `later` with a payment method that takes days.

        Raises ApiFault, 402, when the card is declined; the session is still open then.
        """
        session = self._store.get("checkout.session", session_id)
        self._api.billing.pay_session(session, card, later=later)
        return session

    def settle(self, session_id: str, *, succeeded: bool) -> None:
        """The bank's response to a delayed payment."""
        session = self._store.get("checkout.session", session_id)
        self._api.billing.settle_session(session, succeeded)

    def cancel_at(self, subscription_id: str, moment: int) -> None:
        """The customer cancels in the portal, which sets the date of the end."""
        form = {"cancel_at": str(moment)}
        self._api.answer("POST", f"/v1/subscriptions/{subscription_id}", form, None)

    def reshape(self, subscription_id: str, **fields: Any) -> None:
        """Replaces fields of a subscription in responses."""
        subscription = self.state.subscription(subscription_id)
        subscription.reshaped = fields
        self.state.save_subscription(subscription)

    def set_card(self, customer_id: str, card: Card) -> None:
        """Set the bank's response to charges of this customer."""
        self.state.set_card(customer_id, card)

    def pay_invoice(self, invoice_id: str) -> bool:
        """Tries an open invoice now, as the button in the dashboard does."""
        return self._api.billing.collect(self._store.get("invoice", invoice_id))

    def replay(self, event_id: str, copies: int = 1) -> None:
        """Sends an event again."""
        self.outbox.replay(self._store.get("event", event_id), copies)

    def release(self, *, seed: int | None = None, reverse: bool = False) -> int:
        """Send the held events: in order, in a random order, or in reverse."""
        shuffle = None if seed is None else random.Random(seed)  # noqa: S311
        return self.outbox.release(shuffle=shuffle, reverse=reverse)

    def stock(
        self,
        count: int,
        *,
        metadata: Callable[[int], Mapping[str, str]] = lambda number: {},
        status: str = "active",
        amount: int = 399,
        interval: str = "month",
        events: bool = False,
    ) -> list[str]:
        """Many subscriptions at once, half a period old; with `events`, each was just created.

        They have no invoices. `metadata` is called with the number of each, from 0.
        """
        store, now = self._store, self.now
        product = self.state.create_product("CookCam Subscription", {})
        price = self.state.create_price(product["id"], amount, "usd", interval)
        begun = now - (shapes.after(now, interval, now) - now) // 2
        ids: list[str] = []
        for number in range(count):
            subscription = Subscription(
                id=store.new_id("subscription"),
                customer=store.new_id("customer"),
                item=store.new_id("subscription_item"),
                price=price["id"],
                status=status,
                created=begun,
                item_created=begun,
                anchor=begun,
                period_start=begun,
                period_end=shapes.after(begun, interval, begun),
                metadata=dict(metadata(number)),
            )
            self.state.save_subscription(subscription)
            self._api.billing.watch(subscription)
            ids.append(subscription.id)
            if events:
                self.state.emit_subscription("created", subscription)
        return ids

    @property
    def _store(self) -> Store:
        return self.state.store


@asynccontextmanager
async def open_stripe(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    endpoints: list[Endpoint] | None = None,
    state: Path | None = None,
    behaviour: Behaviour | None = None,
) -> AsyncGenerator[FakeStripe]:
    """Serve the fake until the block ends; it is ready when the block begins.

    Port 0 selects a free one. With `key` no other key is accepted, without it any is. The file
    `state` keeps the objects between runs. Raises OSError when the port is taken.
    """
    listener = Listener.open(host, port)
    behaviour = behaviour or Behaviour()
    store = Store.at(state)
    try:
        outbox = Outbox(store, behaviour.mail, endpoints or [])
        stripe_state = StripeState(store, behaviour, outbox.take)
        billing = Billing(stripe_state)
        billing.resume()
        api = Api(stripe_state, billing, Money(stripe_state), listener.url)
        fake = FakeStripe(stripe_state, listener.url, key or KEY, behaviour, outbox, [], api)
        async with trio.open_nursery() as nursery:
            await nursery.start(outbox.work)
            app = _App(fake, RequestHandler(api, key), Pages(api))
            # The response has a Date header with the simulated time.
            async with listener.serving(
                app, include_date_header=False, keep_alive_max_requests=10**9
            ):
                yield fake
                nursery.cancel_scope.cancel()
    finally:
        store.close()


@define(eq=False)
class _App:
    fake: FakeStripe
    handler: RequestHandler
    pages: Pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await serving.run_lifespan(receive, send)
        elif scope["type"] == "http":
            request = await _request(scope, receive)
            if request is not None:
                try:
                    await self._answer(request, receive, send)
                except ApiFault as fault:
                    await self._send(send, reply_of(fault))

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        if request.path.startswith("/_sandbox/"):
            body = control.answer(self.fake, request.method, request.path, request.body)
            await self._send(send, Reply(200, orjson.dumps(body)))
            return
        if not request.path.startswith("/v1/"):
            form = read_form(request.body.decode())
            page = self.pages.answer(request.method, request.path, request.query, form)
            await self._send(send, page or Reply(404, b"no such page"))
            return
        await self._serve_api(request, receive, send)

    async def _serve_api(self, request: Request, receive: Receive, send: Send) -> None:
        behaviour = self.fake.behaviour
        self.fake.requests.append(f"{request.method} {request.path}")
        replayed = self.handler.admit(request)
        try:
            fault = behaviour.take_fault(request.path)
            if behaviour.delay:
                await trio.sleep(behaviour.delay)
            if fault is not None:
                if fault.late and replayed is None:
                    self.handler.work(request)
                await self._fail(fault, receive, send)
                return
            reply = replayed or self.handler.work(request)
        finally:
            self.handler.leave(request)
        await self._send(send, reply)

    async def _fail(self, fault: Fault, receive: Receive, send: Send) -> None:
        match fault.kind:
            case "status":
                await self._send(send, reply_of(staged(fault.status, fault.retry_after)))
            case "garbage":
                await self._send(send, Reply(200, b'{"id": "cus_1", "obj'))
            case "hang":
                while (await receive())["type"] != "http.disconnect":
                    pass
            case "cut":
                # Returning before the body is complete makes the server close the connection.
                headers = {"Content-Type": "application/json", "Content-Length": "100"}
                await serving.start_response(send, 200, headers)
                await send({"type": "http.response.body", "body": b'{"id"', "more_body": True})

    async def _send(self, send: Send, reply: Reply) -> None:
        self.handler.api.store.flush()  # before the client can rely on it
        headers = {
            "Content-Type": "application/json",
            "Date": formatdate(self.fake.now, usegmt=True),
            "Request-Id": "req_sandbox",
            "Stripe-Version": shapes.API_VERSION,
            **reply.headers,
        }
        await serving.send_response(send, reply.status, headers, reply.body)


async def _request(scope: Scope, receive: Receive) -> Request | None:
    """The request with its body; None when the client disconnected before the body was complete."""
    content = await serving.read_body(receive)
    if content is None:
        return None
    return Request(
        scope["method"],
        scope["path"],
        scope["query_string"].decode(),
        content,
        {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )
