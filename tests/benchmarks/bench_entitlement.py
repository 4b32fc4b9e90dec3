"""How long after a provider tells of a purchase `/subscription/status` shows it.

    python -m tests.benchmarks.bench_entitlement [--purchases 100]

The program as it is deployed, in a process of its own, with Stripe, the App Store and Google Play
on ports of this process. A new user buys; the time is from the first byte of the provider's event
to the end of the first answer of `/subscription/status` that has the tier, asked for at once and
again and again while the event is still being worked on. The first purchase at each provider is
reported by itself: what it needs is imported then. Purchases come one after the other.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import httpx
import orjson
import trio
from attrs import frozen

from cookcam.config.readers import Secret
from cookcam.integrations.stripe import Stripe
from cookcam.sandbox.app_store import FakeAppStore, open_apple
from cookcam.sandbox.google_play import FakeGooglePlay, open_google_play
from cookcam.sandbox.gotrue import Gotrue
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from cookcam.sandbox.stripe.outbox import signature
from tests.benchmarks.bench_webhooks import SECRET, percentile
from tests.identity.project import open_project
from tests.support.ports import free_ports
from tests.support.postgres import TEMPLATE, start_cluster
from tests.support.server_process import started_server
from tests.support.users import create_user
from tests.support.whole_server import environment

WEBHOOK = "/api/v1/subscription/webhook"
STATUS = "/api/v1/subscription/status"

Send: TypeAlias = Callable[[], Awaitable[int | None]]
"""Sends an event and returns the status of its answer."""


@frozen
class Bench:
    http: httpx.AsyncClient
    gotrue: Gotrue
    database_url: str
    stripe: FakeStripe
    client: Stripe
    apple: FakeAppStore
    google: FakeGooglePlay

    async def of_stripe(self, user_id: str) -> Send:
        known = len(self.stripe.events)
        session = await self.client.create_checkout_session(
            user_id=UUID(user_id),
            tier_id=2,
            tier_name="Regular",
            amount_cents=399,
            interval="month",
            success_url="https://cookcam.app/",
            cancel_url="https://cookcam.app/",
            idempotency_key=f"bench-{user_id}",
        )
        self.stripe.pay(session.id)
        events = self.stripe.events[known:]
        # A subscription may be born incomplete: then its payment is what entitles.
        received = next(
            event
            for event in events
            if event["type"].startswith("customer.subscription.")
            and event["data"]["object"]["status"] == "active"
        )
        body = orjson.dumps(received)
        headers = {"Stripe-Signature": signature(body, [SECRET], int(time.time()))}
        return partial(self._post, f"{WEBHOOK}/stripe", body, headers)

    async def of_apple(self, user_id: str) -> Send:
        await self.apple.buy("com.cookcam.pro.monthly", account_token=user_id)
        body = orjson.dumps({"signedPayload": self.apple.notifications[-1]})
        return partial(self._post, f"{WEBHOOK}/apple", body, {})

    async def of_google(self, user_id: str) -> Send:
        await self.google.buy("cookcam_pro_monthly", account_token=user_id)
        body = orjson.dumps(self.google.envelopes[-1])
        headers = {"Authorization": f"Bearer {self.google.keys.push_token()}"}
        return partial(self._post, f"{WEBHOOK}/google", body, headers)

    async def measure(self, of: Callable[[str], Awaitable[Send]], purchases: int) -> list[float]:
        """Seconds, of the first purchase first."""
        waits: list[float] = []
        for _ in range(purchases):
            user_id = str(await create_user(self.database_url))
            token = {"Authorization": f"Bearer {self.gotrue.issue_token(user_id)}"}
            if await self._tier(token) != "free":
                raise AssertionError("somebody new has a tier")
            send = await of(user_id)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sent, send)
                while await self._tier(token) != "regular":
                    if trio.current_time() > began + 30:
                        raise AssertionError("the purchase does not count")
                waits.append(trio.current_time() - began)
        return waits

    async def _sent(self, send: Send) -> None:
        status = await send()
        if status not in (200, 204):
            raise AssertionError(f"the event was answered {status}")

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        sent = {"Content-Type": "application/json", **headers}
        return (await self.http.post(path, content=body, headers=sent)).status_code

    async def _tier(self, token: dict[str, str]) -> str:
        return (await self.http.get(STATUS, headers=token)).raise_for_status().json()["tier_slug"]


@asynccontextmanager
async def open_bench(database_url: str, folder: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        stripe = await stack.enter_async_context(open_stripe())
        apple = await stack.enter_async_context(open_apple())
        google = await stack.enter_async_context(open_google_play())
        root = folder / "apple-root.der"
        root.write_bytes(apple.authority.root)
        settings = environment(
            database_url,
            gotrue,
            STRIPE_SECRET_KEY=stripe.key,
            STRIPE_API_BASE=stripe.url,
            STRIPE_WEBHOOK_SECRET=SECRET,
            **apple.bindings,
            **google.bindings,
            APPLE_ROOT_CERTIFICATES=str(root),
            APPLE_API_PRIVATE_KEY=apple.private_key,
            GOOGLE_SERVICE_ACCOUNT_KEY=google.service_account,
        )
        [port] = free_ports(1)
        server = await stack.enter_async_context(started_server(settings, port, folder))
        await server.ready()
        client = await stack.enter_async_context(
            Stripe.open(secret_key=Secret(stripe.key), api_base=stripe.url)
        )
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False)
        )
        yield Bench(http, gotrue, database_url, stripe, client, apple, google)


def received(name: str, waits: Sequence[float]) -> None:
    first, others = waits[0], waits[1:]
    sys.stdout.write(
        f"{name:<12} median {percentile(others, 0.5):6.1f} ms  p99 {percentile(others, 0.99):6.1f}"
        f" ms  max {max(others) * 1000:6.1f} ms  the first {first * 1000:6.1f} ms\n"
    )


async def run(database_url: str, folder: Path, purchases: int) -> None:
    async with open_bench(database_url, folder) as bench:
        for name, of in (
            ("Stripe", bench.of_stripe),
            ("App Store", bench.of_apple),
            ("Google Play", bench.of_google),
        ):
            gc.freeze()  # this process's own pauses are not what is measured
            received(name, await bench.measure(of, purchases + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--purchases", type=int, default=100)
    requested = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cluster = start_cluster(folder / "postgres")
        with cluster.temporary(TEMPLATE) as name:
            url = cluster.url(name, "cookcam_app")
            trio.run(run, url, folder, requested.purchases)


if __name__ == "__main__":
    main()
