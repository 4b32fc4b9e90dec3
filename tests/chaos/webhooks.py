"""Stripe's events, shuffled and repeated, to a server that is killed again and again.

    python -m tests.chaos.webhooks --events 10000 --kills 50

A few people buy, renew, fail to pay, change, cancel and get refunds at the fake Stripe. Each
of the events of that is delivered one to five times, in a random order, by several connections;
what is not answered with 2xx is delivered again. The server is a process of its own, killed (-9) at
random moments and started again; after each kill six minutes pass for the claims it left behind. A
trigger in the database writes down every time an event is marked as processed: that mark is in the
transaction of what the event changed.

In the end every subscription is as Stripe has it, every event is stored and was done exactly once.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import trio
from attrs import define, field, frozen
from psycopg.rows import tuple_row

from cookcam.config.readers import Secret
from cookcam.database.connecting import connect
from cookcam.features.billing.stripe.sync import STATUSES
from cookcam.integrations.stripe import Stripe
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from cookcam.sandbox.stripe.behaviour import CARDS, DAY
from cookcam.sandbox.stripe.faults import ApiFault
from cookcam.sandbox.stripe.outbox import signature
from tests.identity.project import open_project
from tests.support.ports import free_ports
from tests.support.postgres import TEMPLATE, as_owner, start_cluster
from tests.support.server_process import ServerProcess, started_server
from tests.support.users import create_user
from tests.support.whole_server import environment

SECRET = "whsec_chaos"
LANES = 8

AUDIT = """
create table chaos_marks (event_id text not null);
create function chaos_mark() returns trigger language plpgsql security definer as $$
begin
  insert into public.chaos_marks values (new.event_id);
  return null;
end $$;
create trigger chaos_inserted after insert on public.stripe_webhook_events
  for each row when (new.status = 'processed') execute function chaos_mark();
create trigger chaos_marked after update on public.stripe_webhook_events
  for each row when (new.status = 'processed' and old.status <> 'processed')
  execute function chaos_mark();
"""

PASS_SIX_MINUTES = """
update stripe_webhook_events set
  claimed_at = claimed_at - interval '6 minutes',
  next_attempt_at = now()
where status <> 'processed'"""

ROWS = """
select provider_subscription_id, user_id, tier_id, coalesce(superseded_status, status),
  extract(epoch from current_period_end)::bigint, cancel_at_period_end
from user_subscriptions where provider = 'stripe'"""


@frozen
class Outcome:
    events: int
    deliveries: int
    kills: int
    seconds: float
    responses: dict[str, int]
    readings: int
    wrong: list[str]

    def figures(self) -> str:
        return (
            f"{self.events} events, {self.deliveries} deliveries, {self.kills} kills,"
            f" {self.seconds:.0f} s, {self.readings} requests to Stripe, answers {self.responses}"
        )


@define(eq=False)
class Chaos:
    """One run. `folder` gets a log of each life of the server."""

    database_url: str
    stripe: FakeStripe
    settings: dict[str, str]
    folder: Path
    chance: random.Random
    port: int = field(factory=lambda: free_ports(1)[0])
    responses: Counter[str] = field(factory=Counter)
    kill_at: list[int] = field(factory=list)
    waiting: list[dict[str, Any]] = field(factory=list)
    under_way: int = 0
    killed: int = 0
    _kill: trio.Event = field(factory=trio.Event)

    async def live(self, client: Stripe, events: int) -> None:
        """People do things until there are as many events."""
        subscriptions: list[str] = []
        while len(self.stripe.events) < events:
            if len(subscriptions) < max(3, events // 60):
                subscriptions.append(await self._buy(client))
            for _ in range(2):
                with suppress(ApiFault):
                    self._something(self.chance.choice(subscriptions))
            if self.chance.random() < 0.3:
                self.stripe.advance(self.chance.choice([1, 3_700, DAY, 5 * DAY]))

    async def _buy(self, client: Stripe) -> str:
        user_id, tier = await create_user(self.database_url), self.chance.choice([2, 3])
        session = await client.create_checkout_session(
            user_id=user_id,
            tier_id=tier,
            tier_name="Some",
            amount_cents={2: 399, 3: 999}[tier],
            interval="month",
            success_url="https://cookcam.app/",
            cancel_url="https://cookcam.app/",
            idempotency_key=uuid4().hex,
        )
        return str(self.stripe.pay(session.id)["subscription"])

    def _something(self, subscription_id: str) -> None:
        known = self.stripe.get("subscription", subscription_id)
        match self.chance.randrange(6):
            case 0 | 1:
                self.stripe.set_card(known["customer"], self.chance.choice(["success", *CARDS]))
            case 2:
                self.stripe.advance(self.chance.choice([2, 3_700, 12 * DAY]))
            case 3:
                self.stripe.pay_invoice(known["latest_invoice"])
            case 4 if self.chance.random() < 0.3:
                charges = self.stripe.objects("charge")
                mine = [each for each in charges if each["customer"] == known["customer"]]
                self.stripe.refund(self.chance.choice(mine)["id"], self.chance.choice([None, 50]))
            case _:
                pass

    async def run(self, kills: int) -> Outcome:
        """Delivers everything, kills, and compares."""
        events = self.stripe.events
        self.waiting = [each for each in events for _ in range(self.chance.randint(1, 5))]
        self.chance.shuffle(self.waiting)
        deliveries = len(self.waiting)
        last = max(2, deliveries * 9 // 10)
        self.kill_at = sorted(self.chance.sample(range(1, last), kills), reverse=True)
        before, began = len(self.stripe.requests), time.monotonic()
        async with trio.open_nursery() as nursery:
            for _ in range(LANES):
                nursery.start_soon(self._deliver)
            await self._serve(nursery, kills)
        seconds = time.monotonic() - began
        return Outcome(
            len(events),
            deliveries,
            self.killed,
            seconds,
            dict(self.responses),
            len(self.stripe.requests) - before,
            await self._differences(events),
        )

    async def _serve(self, nursery: trio.Nursery, kills: int) -> None:
        while True:
            folder = self.folder / f"life-{self.killed}"
            folder.mkdir(parents=True)
            async with started_server(self.settings, self.port, folder) as server:
                await server.ready()
                if self.killed == kills:
                    await self._done()
                    nursery.cancel_scope.cancel()
                    return
                await self._kill.wait()
                self._kill = trio.Event()
                await _kill(server)
            self.killed += 1
            await self._sql(PASS_SIX_MINUTES)

    async def _deliver(self) -> None:
        """A connection of Stripe: takes the next delivery until it is acknowledged."""
        url = f"http://127.0.0.1:{self.port}/api/v1/subscription/webhook/stripe"
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            while True:
                if not self.waiting:
                    await trio.sleep(0.05)
                    continue
                event = self.waiting.pop()
                self.under_way += 1
                body = orjson.dumps(event)
                signed = {"Stripe-Signature": signature(body, [SECRET], int(time.time()))}
                try:
                    response = await http.post(url, content=body, headers=signed)
                    status = str(response.status_code)
                except httpx.HTTPError:
                    status = "none"
                self.under_way -= 1
                self._answered(event, status)
                if status == "none":
                    await trio.sleep(0.1)

    def _answered(self, event: dict[str, Any], status: str) -> None:
        self.responses[status] += 1
        if status != "200":
            self.waiting.insert(self.chance.randint(0, len(self.waiting)), event)
        elif self.kill_at and self.responses["200"] >= self.kill_at[-1] and not self._kill.is_set():
            self.kill_at.pop()
            self._kill.set()

    async def _done(self) -> None:
        """Waits until all is delivered and nothing is left to do."""
        with trio.fail_after(1800):
            while self.waiting or self.under_way:
                await trio.sleep(0.05)
        with trio.fail_after(60):
            while await self._sql(
                "select 1 from stripe_webhook_events where status <> 'processed' limit 1"
            ):
                await trio.sleep(0.2)

    async def _differences(self, events: list[dict[str, Any]]) -> list[str]:
        wrong: list[str] = []
        marks = Counter(row[0] for row in await self._sql("select event_id from chaos_marks"))
        ids = {event["id"] for event in events}
        stored = {row[0] for row in await self._sql("select event_id from stripe_webhook_events")}
        wrong += [f"lost: {event_id}" for event_id in ids - stored]
        wrong += [
            f"{marks[event_id]} times: {event_id}" for event_id in ids if marks[event_id] != 1
        ]
        rows = {row[0]: row[1:] for row in await self._sql(ROWS)}
        for received in self.stripe.objects("subscription"):
            item = received["items"]["data"][0]
            theirs = (
                UUID(received["metadata"]["user_id"]),
                {399: 2, 999: 3}[item["price"]["unit_amount"]],
                STATUSES[received["status"]],
                item["current_period_end"],
                received["cancel_at_period_end"],
            )
            if rows.get(received["id"]) != theirs:
                wrong.append(f"{received['id']}: {rows.get(received['id'])} is {theirs}")
        return wrong

    async def _sql(self, statement: Any) -> list[Any]:
        async with await connect(as_owner(self.database_url)) as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(statement)
            rows = await cursor.fetchall() if cursor.description else []
            await connection.commit()
            return rows


async def _kill(server: ServerProcess) -> None:
    server.process.kill()
    await server.ended()


async def chaos(database_url: str, folder: Path, *, events: int, kills: int, seed: int) -> Outcome:
    """A run in a migrated database of its own."""
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        stripe = await stack.enter_async_context(open_stripe())
        client = await stack.enter_async_context(
            Stripe.open(secret_key=Secret(stripe.key), api_base=stripe.url)
        )
        settings = environment(
            database_url,
            gotrue,
            STRIPE_SECRET_KEY=stripe.key,
            STRIPE_API_BASE=stripe.url,
            STRIPE_WEBHOOK_SECRET=SECRET,
        )
        run = Chaos(database_url, stripe, settings, folder, chance)
        await run._sql(AUDIT)
        await run.live(client, events)
        return await run.run(kills)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    requested = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cluster = start_cluster(folder / "postgres")
        with cluster.temporary(TEMPLATE) as database:
            outcome = trio.run(
                lambda: chaos(
                    cluster.url(database, "cookcam_app"),
                    folder / "lives",
                    events=requested.events,
                    kills=requested.kills,
                    seed=requested.seed,
                )
            )
    print(f"seed {requested.seed}: {outcome.figures()}")
    print("\n".join(outcome.wrong) or "every subscription is as Stripe has it")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
