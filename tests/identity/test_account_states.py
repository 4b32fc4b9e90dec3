"""The cached state of the account behind a token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from trio.testing import MockClock

from cookcam.config import DatabaseConfig
from cookcam.config.secret import Secret
from cookcam.database import Database
from cookcam.errors import ServiceUnavailable
from cookcam.identity import account_states
from cookcam.identity.account_states import TTL, AccountStates
from tests.support.postgres import as_owner
from tests.support.users import create_user

BAN = "update auth.users set banned_until = now() + '1 hour' where id = %s"
UNBAN = "update auth.users set banned_until = now() - interval '1 second' where id = %s"
DELETE = "delete from auth.users where id = %s"
SOFT_DELETE = "update auth.users set deleted_at = now() where id = %s"
REQUEST_DELETION = (
    "insert into public.account_deletions (user_hash, user_id)"
    " values (encode(sha256(gen_random_uuid()::text::bytea), 'hex'), %s)"
)


class FakeDatabase:
    """Answers from `state`, or raises `failure`; counts the reads. `gate` holds a read back."""

    def __init__(self) -> None:
        self.state = "active"
        self.failure: Exception | None = None
        self.reads = 0
        self.gate: trio.Event | None = None

    async def fetch_one_as(
        self, actor: object, model: Callable[..., object], *_: object, **__: object
    ):
        self.reads += 1
        state, failure = self.state, self.failure
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if failure is not None:
            raise failure
        return model(state=state)


@pytest.fixture
def fake() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def states(fake: FakeDatabase) -> AccountStates:
    return AccountStates(fake)  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def stored(database_url: str) -> AsyncIterator[AccountStates]:
    config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=2)
    async with Database.open(config) as database:
        yield AccountStates(database)


@pytest.mark.parametrize(
    ("statements", "state"),
    [
        ([], "active"),
        ([BAN], "banned"),
        ([BAN, UNBAN], "active"),
        ([DELETE], "deleted"),
        ([SOFT_DELETE], "deleted"),
        ([REQUEST_DELETION], "deleted"),
        ([BAN, REQUEST_DELETION], "banned"),
    ],
)
async def test_state_is_read_from_the_database(
    stored: AccountStates, database_url: str, statements: list[LiteralString], state: str
) -> None:
    user_id = await create_user(database_url)
    with psycopg.connect(as_owner(database_url)) as owner:
        for statement in statements:
            owner.execute(statement, (user_id,))
    assert await stored.state_of(user_id) == state


async def test_unknown_user_is_deleted(stored: AccountStates) -> None:
    assert await stored.state_of(uuid4()) == "deleted"


async def test_state_is_read_once_in_ttl_seconds(
    states: AccountStates, fake: FakeDatabase, autojump_clock: MockClock
) -> None:
    user_id = uuid4()
    for _ in range(100):
        assert await states.state_of(user_id) == "active"
    assert fake.reads == 1
    fake.state = "banned"
    await trio.sleep(TTL)
    assert await states.state_of(user_id) == "banned"


async def test_forgotten_state_is_read_again(states: AccountStates, fake: FakeDatabase) -> None:
    user_id, other = uuid4(), uuid4()
    await states.state_of(user_id)
    await states.state_of(other)
    fake.state = "deleted"
    states.forget(user_id)
    assert await states.state_of(user_id) == "deleted"
    assert await states.state_of(other) == "active"
    states.forget_all()
    assert await states.state_of(other) == "deleted"


async def test_concurrent_requests_of_a_user_share_a_read(
    states: AccountStates, fake: FakeDatabase, autojump_clock: MockClock
) -> None:
    user_id, fake.gate = uuid4(), trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(states.state_of, user_id)
        await trio.sleep(1)
        fake.gate.set()
    assert fake.reads == 1


async def test_state_announced_as_changed_during_a_read_is_not_cached(
    states: AccountStates, fake: FakeDatabase, autojump_clock: MockClock
) -> None:
    user_id, fake.gate = uuid4(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(states.state_of, user_id)
        await trio.sleep(1)
        fake.state = "banned"
        states.forget(user_id)
        fake.gate.set()
    assert await states.state_of(user_id) == "banned"


async def test_cancelled_read_is_taken_over(
    states: AccountStates, fake: FakeDatabase, autojump_clock: MockClock
) -> None:
    user_id, fake.gate = uuid4(), trio.Event()
    results: list[str] = []

    async def wait() -> None:
        results.append(await states.state_of(user_id))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            async with trio.open_nursery() as reader:
                reader.start_soon(states.state_of, user_id)
                await trio.sleep(1)
                nursery.start_soon(wait)
                await trio.sleep(1)
                first.cancel()
        fake.gate.set()
    assert results == ["active"]


async def test_last_known_state_is_used_while_the_database_is_away(
    states: AccountStates, fake: FakeDatabase, autojump_clock: MockClock
) -> None:
    known, unknown = uuid4(), uuid4()
    await states.state_of(known)
    await trio.sleep(2 * TTL)
    fake.failure = ServiceUnavailable()
    assert await states.state_of(known) == "active"
    with pytest.raises(ServiceUnavailable):
        await states.state_of(unknown)


async def test_failed_read_fails_all_requests_that_share_it(
    states: AccountStates, fake: FakeDatabase, autojump_clock: MockClock
) -> None:
    user_id, fake.gate, fake.failure = uuid4(), trio.Event(), ServiceUnavailable()
    failures: list[Exception] = []

    async def look() -> None:
        try:
            await states.state_of(user_id)
        except ServiceUnavailable as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(look)
        await trio.sleep(1)
        fake.gate.set()
    assert (len(failures), fake.reads) == (5, 1)


async def test_cache_is_bounded_and_drops_the_least_recently_used(
    states: AccountStates, fake: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_states, "MAX_ENTRIES", 3)
    first, *others = [UUID(int=number) for number in range(4)]
    for user_id in (first, *others[:2], first, others[2]):
        await states.state_of(user_id)
    assert len(states) == 3
    reads = fake.reads
    await states.state_of(first)
    assert fake.reads == reads
