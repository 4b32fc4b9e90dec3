"""The stand-in on a listener, and the handle tests and the sandbox hold on it.

A bare ASGI application: it is to be as fast as a hundred thousand subscriptions ask for, and to
hang, cut and lose answers as a network does.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal

import orjson
import trio
from attrs import define, field

from cookcam.sandbox import serving
from cookcam.sandbox.serving import Listener, Receive, Scope, Send
from cookcam.sandbox.stripe import control, shapes
from cookcam.sandbox.stripe.api import Api
from cookcam.sandbox.stripe.behaviour import Behaviour, Card, Fault
from cookcam.sandbox.stripe.billing import Billing
from cookcam.sandbox.stripe.books import Books
from cookcam.sandbox.stripe.faults import ApiFault, staged
from cookcam.sandbox.stripe.forms import read_form
from cookcam.sandbox.stripe.gate import Gate, Reply, Request, reply_of
from cookcam.sandbox.stripe.money import Money
from cookcam.sandbox.stripe.pages import Pages
from cookcam.sandbox.stripe.post import Endpoint, Post
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.store import Store
from cookcam.sandbox.stripe.subscriptions import Subscription

KEY = "sk_test_sandbox"
"""A key that works; so does any other, unless the stand-in was told which one."""

WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 # signs the sandbox's own events
CONNECT_WEBHOOK_SECRET = "whsec_sandbox_connect"  # noqa: S105


@define(eq=False)
class FakeStripe:
    """A running stand-in: `url` is what `STRIPE_API_BASE` has to be, `key` goes with it.

    `post` delivers the events; `behaviour` may be changed at any time. `requests` are method and
    path of what the API was asked so far. What the methods below do, people and banks do at
    Stripe; each happens at the simulated time `now`, and raises ApiFault where it cannot.
    """

    url: str
    key: str = field(repr=False)
    behaviour: Behaviour
    post: Post
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
        return [self._shown(known) for known in self._store.all(kind)]

    def get(self, kind: str, object_id: str) -> Body:
        return self._shown(self._store.get(kind, object_id))

    def advance(self, seconds: float) -> None:
        """Lets simulated time pass, with all that falls due."""
        self._api.billing.advance(self.now + int(seconds))

    def advance_to(self, moment: int) -> None:
        self._api.billing.advance(moment)

    def pay(self, session_id: str, card: Card = "success", *, later: bool = False) -> Body:
        """Somebody pays on the page of a checkout; `later` in a way that takes days.

        Raises ApiFault, 402, when the card is declined; the session is still open then.
        """
        session = self._store.get("checkout.session", session_id)
        self._api.billing.pay_session(session, card, later=later)
        return session

    def settle(self, session_id: str, *, succeeded: bool) -> None:
        """The bank's answer to a payment that took days."""
        session = self._store.get("checkout.session", session_id)
        self._api.billing.settle_session(session, succeeded)

    def confirm(self, intent_id: str, card: Card = "success") -> Body:
        """The app completes a payment with its client secret."""
        intent = self._store.get("payment_intent", intent_id)
        self._api.money.confirm(intent, card)
        return intent

    def cancel_at(self, subscription_id: str, moment: int) -> None:
        """The customer cancels in the portal, which tells the date of the end."""
        form = {"cancel_at": str(moment)}
        self._api.answer("POST", f"/v1/subscriptions/{subscription_id}", form, None)

    def reshape(self, subscription_id: str, **fields: Any) -> None:
        """Shows a subscription with these fields in place of its own."""
        known = self._api.books.subscription(subscription_id)
        known.reshaped = fields
        self._api.books.keep_subscription(known)

    def set_card(self, customer_id: str, card: Card) -> None:
        """How the bank will answer when this customer is charged."""
        self._api.books.set_card(customer_id, card)

    def pay_invoice(self, invoice_id: str) -> bool:
        """Tries an open invoice now, as the button in the dashboard does."""
        return self._api.billing.collect(self._store.get("invoice", invoice_id))

    def refund(self, charge_id: str, amount: int | None = None) -> Body:
        return self._api.money.refund(self._store.get("charge", charge_id), amount, {})

    def dispute(self, charge_id: str, reason: str = "fraudulent") -> Body:
        return self._api.money.open_dispute(self._store.get("charge", charge_id), reason)

    def close_dispute(self, dispute_id: str, *, won: bool) -> None:
        self._api.money.close_dispute(self._store.get("dispute", dispute_id), won=won)

    def onboard(self, account_id: str, outcome: Literal["active", "restricted"] = "active") -> Body:
        """A creator answers Stripe's questions."""
        account = self._api.money.account(account_id)
        self._api.money.onboard(account, outcome)
        return account

    def deauthorize(self, account_id: str) -> None:
        self._api.money.deauthorize(self._api.money.account(account_id))

    def reverse(self, transfer_id: str, amount: int | None = None) -> Body:
        return self._api.money.reverse(self._store.get("transfer", transfer_id), amount)

    def pay_out(self, account_id: str, amount: int, *, fails: bool = False) -> Body:
        """A connected account's balance goes to its bank."""
        account = self._api.money.account(account_id)
        return self._api.money.pay_out(account, amount, fails=fails)

    def replay(self, event_id: str, copies: int = 1) -> None:
        """Sends an event again."""
        self.post.replay(self._store.get("event", event_id), copies)

    def release(self, *, seed: int | None = None, reverse: bool = False) -> int:
        """Lets go of events that were held, in their order, in a random one, or backwards."""
        shuffle = None if seed is None else random.Random(seed)  # noqa: S311
        return self.post.release(shuffle=shuffle, reverse=reverse)

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
        store, now = self._api.store, self._api.store.now
        product = shapes.product(store.new_id("product"), now, "CookCam Subscription", {})
        self._api.books.keep(product)
        price = shapes.price(store.new_id("price"), now, product["id"], amount, "usd", interval)
        self._api.books.keep(price)
        begun = now - (shapes.after(now, interval, now) - now) // 2
        ids: list[str] = []
        for number in range(count):
            known = Subscription(
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
            self._api.books.keep_subscription(known)
            self._api.billing.watch(known)
            ids.append(known.id)
            if events:
                self._api.books.emit_subscription("created", known)
        return ids

    @property
    def _store(self) -> Store:
        return self._api.store

    def _shown(self, known: Any) -> Body:
        return self._api.books.shown(known) if isinstance(known, Subscription) else known


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
    """Serves the stand-in until the block ends; it answers when the block begins.

    Port 0 takes a free one. With `key` no other key is accepted, without it any is. With a file
    `state` it remembers what it knew there. Raises OSError when the port is taken.
    """
    listener = Listener.open(host, port)
    behaviour = behaviour or Behaviour()
    store = Store.at(state)
    try:
        post = Post(store, behaviour.mail, endpoints or [])
        books = Books(store, behaviour, post.take)
        billing = Billing(books)
        billing.resume()
        api = Api(books, billing, Money(books), listener.url)
        fake = FakeStripe(listener.url, key or KEY, behaviour, post, [], api)
        async with trio.open_nursery() as nursery:
            await nursery.start(post.work)
            app = _App(fake, Gate(api, key), Pages(api))
            # Its own Date tells the simulated time.
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
    gate: Gate
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
            told = control.answer(self.fake, request.method, request.path, request.body)
            await self._send(send, Reply(200, orjson.dumps(told)))
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
        replayed = self.gate.admit(request)
        try:
            fault = behaviour.take_fault(request.path)
            if behaviour.delay:
                await trio.sleep(behaviour.delay)
            if fault is not None:
                if fault.late and replayed is None:
                    self.gate.work(request)
                await self._fail(fault, receive, send)
                return
            reply = replayed or self.gate.work(request)
        finally:
            self.gate.leave(request)
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
        self.gate.api.store.flush()  # first: what a client knows of outlives this process
        headers = {
            "Content-Type": "application/json",
            "Date": formatdate(self.fake.now, usegmt=True),
            "Request-Id": "req_sandbox",
            "Stripe-Version": shapes.API_VERSION,
            **reply.headers,
        }
        await serving.send_response(send, reply.status, headers, reply.body)


async def _request(scope: Scope, receive: Receive) -> Request | None:
    """None when the client disconnected before it was complete."""
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
