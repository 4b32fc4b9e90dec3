"""Delivery of events (signed, repeated, held, shuffled, lost), and a fake that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import h11
import httpx
import orjson
import pytest
import trio
from attrs import define, evolve, field

from cookcam.config.readers import Secret
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.events import Event, verify
from cookcam.sandbox.stripe import (
    CONNECT_WEBHOOK_SECRET,
    DAY,
    WEBHOOK_SECRET,
    ApiFault,
    Behaviour,
    DeliverySettings,
    Endpoint,
    FakeStripe,
    Fault,
    open_stripe,
)
from cookcam.sandbox.stripe.forms import read_form
from tests.integrations.stripe_conversations import ANN, checkout, open_client, subscribed

SECRETS = [Secret(WEBHOOK_SECRET), Secret(CONNECT_WEBHOOK_SECRET)]


@define(eq=False)
class Receiver:
    """A webhook endpoint that verifies what it gets; `response` gives the status for an event."""

    url: str = ""
    got: list[Event] = field(factory=list[Event])
    response: Callable[[Event], int] = lambda event: 200

    async def serve(self, stream: trio.SocketStream) -> None:
        # Of a sender that was killed, or ended with the test, in the middle of an event.
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
            await self._serve(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                headers: dict[bytes, bytes] = {}
                body = b""
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Request):
                        headers = dict(event.headers)
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                signature = headers[b"stripe-signature"].decode()
                received = verify(body, signature, SECRETS, now=datetime.now(UTC))
                self.got.append(received)
                status = self.response(received)
                for out in (
                    h11.Response(status_code=status, headers=[("content-length", "0")]),
                    h11.EndOfMessage(),
                ):
                    await stream.send_all(connection.send(out) or b"")
                connection.start_next_cycle()


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> Receiver:
    made = Receiver()
    (listener,) = await nursery.start(partial(trio.serve_tcp, made.serve, 0, host="127.0.0.1"))
    made.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/hook"
    return made


@pytest.fixture
async def stripe(receiver: Receiver) -> AsyncIterator[FakeStripe]:
    endpoints = [
        Endpoint(receiver.url, ["whsec_older", WEBHOOK_SECRET]),
        Endpoint(f"{receiver.url}-connect", [CONNECT_WEBHOOK_SECRET], connect=True),
    ]
    mail = DeliverySettings(retries=[0.01, 0.02])
    async with open_stripe(endpoints=endpoints, behaviour=Behaviour(mail=mail)) as opened:
        yield opened


@pytest.fixture
async def client(stripe: FakeStripe) -> AsyncIterator[Stripe]:
    async with open_client(stripe) as opened:
        yield opened


def ids(events: list[Any]) -> list[str]:
    return [e.id if isinstance(e, Event) else e["id"] for e in events]


async def test_events_arrive_in_order_and_where_they_belong(client, stripe, receiver):
    await subscribed(client, stripe)
    account = await client.create_account(
        creator_id=ANN, country="US", email=None, idempotency_key="a"
    )
    stripe.onboard(account.id)
    await stripe.outbox.quiet()
    assert ids(receiver.got) == ids(stripe.events)
    of_accounts = [a.type for a in stripe.outbox.attempts if a.url.endswith("-connect")]
    assert of_accounts == ["account.updated"]


async def test_signatures_have_the_real_time(client, stripe, receiver):
    await subscribed(client, stripe)
    stripe.advance(400 * DAY)  # the receiver verifies, with its tolerance of five minutes
    await stripe.outbox.quiet()
    assert ids(receiver.got) == ids(stripe.events)
    assert (receiver.got[-1].created - receiver.got[0].created).days > 380


async def test_unacknowledged_events_are_delivered_again(client, stripe, receiver):
    seen: Counter[str] = Counter()

    def twice_no(event: Event) -> int:
        seen[event.id] += 1
        return 200 if seen[event.id] > 2 else 500

    receiver.response = twice_no
    await subscribed(client, stripe)
    await stripe.outbox.quiet()
    assert set(seen.values()) == {3}
    assert seen.keys() == set(ids(stripe.events))


async def test_events_can_be_held_duplicated_and_shuffled(client, stripe, receiver):
    mail = stripe.behaviour.mail
    mail.hold, mail.copies = True, 3
    await subscribed(client, stripe)
    await stripe.outbox.quiet()
    assert receiver.got == []
    assert stripe.release(seed=7) == len(stripe.events)
    await stripe.outbox.quiet()
    assert Counter(ids(receiver.got)) == dict.fromkeys(ids(stripe.events), 3)
    assert ids(receiver.got) != sorted(ids(receiver.got), key=ids(stripe.events).index)


async def test_events_can_be_reversed_lost_and_replayed(client, stripe, receiver):
    mail = stripe.behaviour.mail
    mail.drop, mail.hold = 2, True
    await subscribed(client, stripe)
    stripe.release(reverse=True)
    await stripe.outbox.quiet()
    assert ids(receiver.got) == list(reversed(ids(stripe.events)[2:]))
    stripe.replay(stripe.events[0]["id"], copies=2)
    await stripe.outbox.quiet()
    assert ids(receiver.got)[-2:] == [stripe.events[0]["id"]] * 2


async def test_delivery_can_be_delayed(stripe, receiver, autojump_clock):
    stripe.behaviour.mail.delay = 5.0
    began = trio.current_time()
    stripe.stock(1, events=True)
    await stripe.outbox.quiet()
    assert len(receiver.got) == 1
    assert trio.current_time() - began >= 5.0


async def test_ten_thousand_subscriptions_with_their_events():
    async with open_stripe() as stripe:
        ids_ = stripe.stock(10_000, events=True)
        assert len(stripe.events) == len(set(ids_)) == 10_000


async def test_checkout_portal_and_onboarding_pages(client, stripe):
    session = await checkout(client)
    async with httpx.AsyncClient(verify=False) as browser:
        page = await browser.get(session.url)
        assert "3.99 USD" in page.text
        rejected = await browser.post(session.url, data={"card": "expired"})
        assert (rejected.status_code, "expired" in rejected.text) == (402, True)
        done = await browser.post(session.url, data={"card": "success"})
        assert done.headers["location"] == f"https://cookcam.ai/thanks?session={session.id}"
        account = await client.create_account(
            creator_id=ANN, country="US", email=None, idempotency_key="a"
        )
        link = await client.create_account_link(
            account.id, return_url="https://cookcam.ai/in", refresh_url="https://cookcam.ai/again"
        )
        back = await browser.post(link.url, data={"outcome": "active"})
        assert back.headers["location"] == "https://cookcam.ai/in"
        paid = await client.retrieve_checkout_session(session.id)
        portal = await client.create_portal_session(
            customer_id=paid.customer_id, return_url="https://cookcam.ai/account"
        )
        await browser.post(portal, data={"act": "cancel"})
    assert (await client.retrieve_account(account.id)).transfers_active
    assert (await client.retrieve_subscription(paid.subscription_id)).cancel_at_period_end


async def test_settings_and_commands_over_http(client, stripe, receiver):
    received = await _put(stripe.url, "behaviour", {"delay": 0.001, "mail": {"copies": 2}})
    assert (received["delay"], received["mail"]["copies"], received["mail"]["retries"]) == (
        0.001,
        2,
        [0.01, 0.02],
    )
    assert stripe.behaviour.mail.copies == 2
    await _put(stripe.url, "behaviour", {"fault": {"kind": "status", "times": 1, "status": 503}})
    assert stripe.behaviour.fault is not None
    await checkout(client)
    assert stripe.behaviour.fault is None
    stocked = await _post(stripe.url, "stock", {"count": 3, "events": True})
    await stripe.outbox.quiet()
    assert [a["status"] for a in await _get(stripe.url, "attempts")][-6:] == [200] * 6
    assert (await _get(stripe.url, "events"))[-1]["data"]["object"]["id"] == stocked["ids"][-1]
    await _put(stripe.url, "endpoints", {"endpoints": []})
    await _post(stripe.url, "stock", {"count": 1, "events": True})
    await stripe.outbox.quiet()
    assert len(stripe.outbox.attempts) == len(receiver.got)
    before = (await _get(stripe.url, "clock"))["now"]
    assert (await _post(stripe.url, "clock", {"to": before + DAY}))["now"] >= before + DAY
    async with httpx.AsyncClient(verify=False, base_url=f"{stripe.url}/_sandbox") as http:
        for method, path, body in (
            ("PUT", "/behaviour", b'{"delays": 1}'),
            ("POST", "/pay", b'{"session": 1}'),
            ("POST", "/clock", b"{"),
            ("POST", "/clock", b'{"advance": -100}'),
        ):
            assert (await http.request(method, path, content=body)).status_code == 400
        assert (await http.get("/nothing")).status_code == 404


async def test_idempotency_key_of_a_running_request_is_a_409(stripe):
    stripe.behaviour.fault = Fault("hang", times=1)
    headers = {"Authorization": f"Bearer {stripe.key}", "Idempotency-Key": "k"}
    async with (
        httpx.AsyncClient(verify=False, base_url=stripe.url, headers=headers) as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(http.post, "/v1/products")
        while not stripe.requests:
            await trio.sleep(0.001)
        assert (await http.post("/v1/products")).status_code == 409
        nursery.cancel_scope.cancel()


def test_forms_are_read_as_the_library_writes_them():
    text = "a[b][0][c]=1&a[b][1][c]=2&list[]=x&list[]=y&empty=&m[k%5D]=v"
    with pytest.raises(ApiFault):
        read_form(text)
    assert read_form(text.rpartition("&")[0]) == {
        "a": {"b": [{"c": "1"}, {"c": "2"}]},
        "list": ["x", "y"],
        "empty": "",
    }


async def test_a_page_has_at_most_100_objects(stripe):
    headers = {"Authorization": f"Bearer {stripe.key}"}
    async with httpx.AsyncClient(verify=False, base_url=stripe.url, headers=headers) as http:
        assert (await http.get("/v1/subscriptions", params={"limit": "101"})).status_code == 400


async def test_state_survives_a_killed_process(tmp_path, receiver):
    state = tmp_path / "stripe.sqlite"
    receiver.response = lambda event: 500
    with _process(state, receiver.url) as (pid, url):
        async with open_client(cast("Any", _Address(url))) as client:
            session = await checkout(client)
            await _post(url, "pay", {"session_id": session.id})
            await _post(url, "clock", {"advance": 40 * DAY})
            before = await client.list_subscriptions()
        os.kill(pid, signal.SIGKILL)
    receiver.response = lambda event: 200
    receiver.got.clear()
    async with open_stripe(state=state, endpoints=[Endpoint(receiver.url, [WEBHOOK_SECRET])]) as it:
        await it.outbox.quiet()
        # Nobody had acknowledged any; what was on its way at the time may be there as well.
        assert set(ids(receiver.got)) == set(ids(it.events))
        async with open_client(it) as client:
            after = await client.list_subscriptions()
            assert [evolve(s, as_of=None) for s in after.items] == [
                evolve(s, as_of=None) for s in before.items
            ]
            assert (await checkout(client)).id == session.id  # the idempotency key is known
        assert it.now - time.time() > 39 * DAY
        known = len(it.events)
        it.advance(31 * DAY)  # and so is what falls due
        assert len(it.events) > known


@define
class _Address:
    url: str
    key: str = "sk_test_sandbox"


async def _post(url: str, what: str, given: dict[str, Any]) -> Any:
    async with httpx.AsyncClient(verify=False) as http:
        response = await http.post(f"{url}/_sandbox/{what}", content=orjson.dumps(given))
        assert response.status_code == 200, response.text
        return response.json()


async def _put(url: str, what: str, given: dict[str, Any]) -> Any:
    async with httpx.AsyncClient(verify=False) as http:
        response = await http.put(f"{url}/_sandbox/{what}", content=orjson.dumps(given))
        assert response.status_code == 200, response.text
        return response.json()


async def _get(url: str, what: str) -> Any:
    async with httpx.AsyncClient(verify=False) as http:
        return (await http.get(f"{url}/_sandbox/{what}")).json()


class _process:  # noqa: N801 # reads as the block it is
    """A fake in a process of its own; yields its process id and address."""

    def __init__(self, state: Path, webhook_url: str) -> None:
        command = [sys.executable, "-m", "cookcam.sandbox.stripe", "--state", str(state)]
        self.child = subprocess.Popen(
            [*command, "--webhook-url", webhook_url], stdout=subprocess.PIPE
        )

    def __enter__(self) -> tuple[int, str]:
        assert self.child.stdout is not None
        announced = orjson.loads(self.child.stdout.readline())
        return self.child.pid, announced["url"]

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait(10)
        assert self.child.stdout is not None
        self.child.stdout.close()
