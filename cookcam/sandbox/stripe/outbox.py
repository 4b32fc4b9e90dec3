"""Delivery of events to the server: signed, repeated until acknowledged, with faults on demand.

Source: Stripe's pages on webhooks and on their signatures.
"""

from __future__ import annotations

import hmac
import random
import time
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson
import trio
from attrs import define, field, frozen

from cookcam.sandbox.stripe.behaviour import DeliverySettings
from cookcam.sandbox.stripe.shapes import Body
from cookcam.sandbox.stripe.store import Store

if TYPE_CHECKING:
    import httpx


@frozen
class Endpoint:
    """An address for events. A `connect` endpoint gets those of connected accounts, others the
    rest.  Events are signed with every secret: while a secret is rolled, Stripe uses the old and
    the new."""

    url: str
    secrets: list[str] = field(repr=False)
    connect: bool = False


@frozen
class Attempt:
    """One delivery; `status` is None without a response."""

    event_id: str
    type: str
    url: str
    status: int | None


def signature(payload: bytes, secrets: Iterable[str], at: int) -> str:
    """The header `Stripe-Signature`."""
    macs = [hmac.new(s.encode(), b"%d." % at + payload, sha256).hexdigest() for s in secrets]
    return ",".join([f"t={at}", *(f"v1={mac}" for mac in macs)])


@define(eq=False)
class Outbox:
    """`endpoints` and `mail` may be changed at any time. `attempts` are the deliveries so far.

    Unacknowledged events are in the store and are sent again after a restart.
    """

    store: Store
    mail: DeliverySettings
    endpoints: list[Endpoint]
    attempts: list[Attempt] = field(factory=list[Attempt])
    _held: list[tuple[Endpoint, Body]] = field(factory=list[tuple[Endpoint, Body]])
    _under_way: int = 0
    _lanes: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    _quiet: trio.Event = field(factory=trio.Event)
    _waiting: list[tuple[Endpoint, Body]] = field(factory=list[tuple[Endpoint, Body]])
    _wake: trio.Event = field(factory=trio.Event)

    def take(self, event: Body) -> None:
        """Sends an event to its endpoints."""
        for endpoint in self._recipients(event):
            if self.mail.drop > 0:
                self.mail.drop -= 1
                continue
            self.store.put("undelivered", f"{event['id']} {endpoint.url}", {"event": event["id"]})
            if self.mail.hold:
                self._held.append((endpoint, event))
            else:
                self._send(endpoint, event)

    def release(self, *, shuffle: random.Random | None = None, reverse: bool = False) -> int:
        """Ends `hold`; sends the held events in order, in a random order, or in reverse."""
        self.mail.hold = False
        held, self._held = self._held, []
        if shuffle is not None:
            shuffle.shuffle(held)
        for endpoint, event in reversed(held) if reverse else held:
            self._send(endpoint, event)
        return len(held)

    def replay(self, event: Body, copies: int = 1) -> None:
        """Sends an event again, even if it was held, dropped or acknowledged."""
        for endpoint in self._recipients(event):
            for _ in range(copies):
                self._waiting.append((endpoint, event))
        self._wake.set()

    async def quiet(self) -> None:
        """Waits until no delivery is running or due again; held events do not count."""
        while self._under_way or self._waiting:
            await self._quiet.wait()

    async def work(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delivers until cancelled."""
        import httpx

        for name in list(self.store.collection("undelivered").objects):
            event_id, url = name.split(" ", 1)
            event = self.store.find("event", event_id)
            self._waiting += [(e, event) for e in self.endpoints if event and e.url == url]
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(None), trust_env=False) as http,
            trio.open_nursery() as nursery,
        ):
            task_status.started()
            while True:
                self._lanes.total_tokens = max(1, self.mail.lanes)
                waiting, self._waiting = self._waiting, []
                for endpoint, event in waiting:
                    self._under_way += 1
                    turn = trio.Event()
                    nursery.start_soon(partial(self._deliver, http, endpoint, event, turn))
                    await turn.wait()  # tasks start in any order, events are sent in order
                await self._wake.wait()
                self._wake = trio.Event()

    def _recipients(self, event: Body) -> list[Endpoint]:
        of_account = event.get("account") is not None
        return [endpoint for endpoint in self.endpoints if endpoint.connect == of_account]

    def _send(self, endpoint: Endpoint, event: Body) -> None:
        self._waiting += [(endpoint, event)] * max(1, self.mail.copies)
        self._wake.set()

    async def _deliver(
        self, http: httpx.AsyncClient, endpoint: Endpoint, event: Body, turn: trio.Event
    ) -> None:
        try:
            if self.mail.delay:
                turn.set()
                await trio.sleep(self.mail.delay)
            for pause in [*self.mail.retries, None]:
                async with self._lanes:
                    turn.set()
                    arrived = await self._try(http, endpoint, event)
                if arrived:
                    self.store.drop("undelivered", f"{event['id']} {endpoint.url}")
                if arrived or pause is None:
                    return
                await trio.sleep(pause)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()
                self._quiet = trio.Event()

    async def _try(self, http: httpx.AsyncClient, endpoint: Endpoint, event: Body) -> bool:
        import httpx

        payload = orjson.dumps(event, option=orjson.OPT_INDENT_2)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            # Signatures use the real time, not the simulated one.
            "Stripe-Signature": signature(payload, endpoint.secrets, int(time.time())),
        }
        status: int | None = None
        with trio.move_on_after(self.mail.timeout):
            try:
                answer = await http.post(endpoint.url, content=payload, headers=headers)
                status = answer.status_code
            except httpx.HTTPError:
                pass
        self.attempts.append(Attempt(event["id"], event["type"], endpoint.url, status))
        return status is not None and 200 <= status < 300
