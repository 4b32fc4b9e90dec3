"""Requests under an `Idempotency-Key`: run once, answered as often as asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import trio
from attrs import define, frozen

from cookcam.config import loading
from cookcam.database import SERVICE, Database
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.idempotency.guard import idempotent
from cookcam.features.operations.idempotency.models import Claim, KeyedRequest
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.features.operations.idempotency.store import ReplyStore
from cookcam.http import Routes, deadline, validate_request, validate_response
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in
from tests.support.users import create_user


class Order(msgspec.Struct):
    dish: str = "soup"


class Cooked(msgspec.Struct):
    dish: str
    number: int
    weight: float


@define
class IdempotencyApp:
    """Counts what it cooks, and waits or fails where a test wants it."""

    cooked: int = 0
    broken: bool = False
    may_finish: trio.Event | None = None
    started: trio.Event | None = None

    async def cook(self, dish: str) -> Cooked:
        if self.started is not None:
            self.started.set()
        if self.may_finish is not None:
            await self.may_finish.wait()
        if self.broken:
            raise ServiceUnavailable()
        self.cooked += 1
        return Cooked(dish, self.cooked, 1.5)


@frozen
class Tokens:
    """An authenticator for which a token is a user id."""

    async def identify(self, token: str, *, allow_deleted: bool = False) -> Identity:
        return Identity(UUID(token))


@frozen
class Stage:
    live: IdempotencyApp
    store: ReplyStore
    http: httpx.AsyncClient
    ann: UUID
    bob: UUID

    async def post(
        self,
        key: str | None,
        dish: str = "soup",
        *,
        who: UUID | None = None,
        path: str = "/dishes/a",
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who or self.ann}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.post(f"/api/v1{path}", json={"dish": dish}, headers=headers)


def routes(live: IdempotencyApp, replies: StoredReplies) -> Routes:
    bp = Routes("kitchen", __name__)

    @bp.post("/dishes/<table>")
    @signed_in
    @idempotent(replies)
    @validate_request(Order)
    @validate_response(Cooked, 201)
    async def cook(_caller: Identity, table: str, data: Order) -> tuple[Cooked, int]:
        return await live.cook(data.dish), 201

    @bp.post("/slow")
    @deadline(0.05)
    @signed_in
    @idempotent(replies)
    @validate_request(Order)
    @validate_response(Cooked)
    async def slow(_caller: Identity, data: Order) -> Cooked:
        return await live.cook(data.dish)

    return bp


@pytest.fixture
async def stage(database: Database, database_url: str) -> AsyncIterator[Stage]:
    settings = loading.load(
        {
            "APP_ENV": "test",
            "DATABASE_URL": database_url,
            "SUPABASE_URL": "http://127.0.0.1:1",
            "SUPABASE_ANON_KEY": "anon",
            "SUPABASE_SERVICE_ROLE_KEY": "service",
            "OPENAI_API_KEY": "sk-test",
            "ENABLE_RATE_LIMITING": "false",
        }
    )
    live, store = IdempotencyApp(), ReplyStore(database)
    limits = RateLimits.of(settings.limits)
    app = create_app(
        settings, [routes(live, StoredReplies(store))], authenticator=Tokens(), limits=limits
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Edge(app, settings, limits=limits)),
        base_url="http://cookcam.test",
    ) as http:
        ann, bob = await create_user(database_url), await create_user(database_url)
        yield Stage(live, store, http, ann, bob)


async def kept(database: Database, user: UUID) -> list[Any]:
    return await database.fetch_all_as(
        SERVICE,
        dict,
        "select key, endpoint, status_code, response,"
        " expires_at - created_at = interval '24 hours' as for_a_day"
        " from idempotency_keys where user_id = %(user)s",
        user=user,
    )


async def test_a_repeated_request_gets_the_first_reply(stage: Stage, database: Database) -> None:
    first, again = await stage.post("k"), await stage.post("k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() == {"dish": "soup", "number": 1, "weight": 1.5}
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert stage.live.cooked == 1
    assert await kept(database, stage.ann) == [
        {
            "key": "k",
            "endpoint": "POST /api/v1/dishes/{table}",
            "status_code": 201,
            "response": first.json(),
            "for_a_day": True,
        }
    ]


async def test_without_a_key_every_request_runs(stage: Stage, database: Database) -> None:
    await stage.post(None)
    await stage.post(" ")
    assert stage.live.cooked == 2
    assert await kept(database, stage.ann) == []


async def test_a_key_is_of_one_person(stage: Stage) -> None:
    await stage.post("k")
    assert (await stage.post("k", who=stage.bob)).json()["number"] == 2


async def test_a_key_used_for_another_request_is_rejected(stage: Stage) -> None:
    await stage.post("k")
    for other in (await stage.post("k", "stew"), await stage.post("k", path="/dishes/b")):
        assert other.status_code == 409
        assert other.json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert stage.live.cooked == 1


async def test_a_key_too_long_is_rejected(stage: Stage) -> None:
    assert (await stage.post("k" * 200)).status_code == 201
    rejected = await stage.post("k" * 201)
    assert (rejected.status_code, rejected.json()["code"]) == (400, "VALIDATION_ERROR")


async def test_many_at_once_run_once(stage: Stage) -> None:
    stage.live.started, stage.live.may_finish = trio.Event(), trio.Event()
    responses: list[httpx.Response] = []

    async def ask() -> None:
        responses.append(await stage.post("k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await stage.live.started.wait()
        responses += [await stage.post("k") for _ in range(10)]
        stage.live.may_finish.set()
    *rejected, first = responses
    assert first.status_code == 201
    assert {response.status_code for response in rejected} == {409}
    assert rejected[0].json()["code"] == "CONFLICT_ERROR"
    assert rejected[0].headers["retry-after"] == "2"
    assert (await stage.post("k")).json() == first.json()
    assert stage.live.cooked == 1


async def test_a_race_for_a_new_key_has_one_winner(stage: Stage) -> None:
    responses: list[int] = []

    async def ask() -> None:
        responses.append((await stage.post("k")).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(ask)
    assert stage.live.cooked == 1
    assert set(responses) <= {201, 409}


async def test_a_failure_is_not_kept(stage: Stage, database: Database) -> None:
    stage.live.broken = True
    assert (await stage.post("k")).status_code == 503
    assert await kept(database, stage.ann) == []
    stage.live.broken = False
    assert (await stage.post("k")).status_code == 201


async def test_what_is_not_acceptable_is_not_kept(stage: Stage, database: Database) -> None:
    headers = {"Authorization": f"Bearer {stage.ann}", "Idempotency-Key": "k"}
    bad = await stage.http.post("/api/v1/dishes/a", json={"dish": 5}, headers=headers)
    assert bad.status_code == 400
    assert await kept(database, stage.ann) == []


async def test_a_deadline_gives_the_key_back(stage: Stage, database: Database) -> None:
    stage.live.may_finish = trio.Event()
    assert (await stage.post("k", path="/slow")).status_code == 504
    assert await kept(database, stage.ann) == []
    stage.live.may_finish = None
    assert (await stage.post("k", path="/slow")).status_code == 200


async def age(database: Database, user: UUID, change: str) -> None:
    statement = f"update idempotency_keys set {change} where user_id = %(user)s"
    async with database.transaction() as tx:
        await tx.execute(statement, user=user)  # type: ignore[arg-type]


async def test_a_reply_that_expired_is_forgotten(stage: Stage, database: Database) -> None:
    await stage.post("k")
    await age(database, stage.ann, "expires_at = now()")
    assert (await stage.post("k", "stew")).json()["number"] == 2
    assert (await stage.post("k", "stew")).headers["idempotency-replayed"] == "true"


async def test_expired_claim_is_replaced_and_can_no_longer_store_a_reply(
    stage: Stage, database: Database
) -> None:
    dead = await stage.store.claim(KeyedRequest(stage.ann, "k", "POST /x", "h"))
    assert isinstance(dead, Claim)
    await age(database, stage.ann, "created_at = created_at - interval '6 minutes'")
    await stage.post("k")
    await stage.store.store_reply(dead, 500, b"{}")
    await stage.store.release(dead)
    assert (await stage.post("k")).json()["number"] == 1


@frozen
class Forgetful(ReplyStore):
    """A store whose database goes away while the request runs."""

    async def store_reply(self, claim: Claim, status: int, body: bytes) -> None:
        raise ServiceUnavailable()


async def test_reply_that_cannot_be_stored_is_still_sent(stage: Stage, database: Database) -> None:
    replies = StoredReplies(Forgetful(database))
    keyed = KeyedRequest(stage.ann, "k", "POST /x", "h")

    @frozen
    class Done:
        status: int = 200
        body: bytes = b"{}"

    async def run() -> Done:
        return Done()

    assert await replies.once(keyed, run) == Done()
    assert [row["status_code"] for row in await kept(database, stage.ann)] == [None]
