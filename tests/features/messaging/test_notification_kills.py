"""Senders that are killed: every notification is sent, and what is sent twice is on record."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import trio

from cookcam.sandbox.push import FakePush, open_push
from tests.support.postgres import as_owner

PEOPLE = 40

ARRANGE = f"""
with people as (
  insert into auth.users (email)
  select 'person' || n || '@cook.test' from generate_series(1, {PEOPLE}) n returning id
)
insert into public.device_tokens (token, user_id)
select 'ExponentPushToken[' || id || ']', id from people;
insert into public.notification_logs (user_id, type, title, body, dedupe_key, expires_at)
select user_id, 'hint', 'Hint', 'Cook', 'hint', now() + interval '1 hour'
from public.device_tokens"""

EXPIRE_CLAIMS = """
update notification_logs set claimed_at = claimed_at - interval '6 minutes'
where status = 'sending'"""


@contextmanager
def killed_worker(database_url: str, push: FakePush) -> Iterator[None]:
    """Runs a sender until the block ends, then kills it."""
    command = [sys.executable, "-m", "tests.support.notification_worker", database_url, push.url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.01)


async def test_killed_senders_lose_nothing_and_repeat_only_what_is_recorded(
    fresh_database_url: str,
):
    with psycopg.connect(as_owner(fresh_database_url), autocommit=True) as owner:
        owner.execute(ARRANGE)

        def settled() -> int:
            row = owner.execute("select count(*) from notification_logs where status = 'sent'")
            return (row.fetchone() or (0,))[0]

        async with open_push() as push:
            # Killed between the claim and the response.
            push.behaviour.delay = 3600.0
            with killed_worker(fresh_database_url, push):
                await until(lambda: push.behaviour.requests)
            push.behaviour.delay = 0.0
            assert settled() == 0

            # Killed between the response and the storing of the result, which a lock holds up.
            owner.execute(EXPIRE_CLAIMS)
            with psycopg.connect(as_owner(fresh_database_url)) as blocker:
                blocker.execute("lock table push_tickets")
                with killed_worker(fresh_database_url, push):
                    await until(lambda: push.sent)
            assert (settled(), len(push.sent)) == (0, 10)

            # Killed anywhere in the middle.
            owner.execute(EXPIRE_CLAIMS)
            with killed_worker(fresh_database_url, push):
                await until(lambda: len(push.sent) > 20)

            # Two others finish the work together.
            owner.execute(EXPIRE_CLAIMS)
            with (
                killed_worker(fresh_database_url, push),
                killed_worker(fresh_database_url, push),
            ):
                await until(lambda: settled() == PEOPLE)

        attempts = dict(owner.execute("select id::text, attempts from notification_logs"))
        sent = Counter(one.collapse for one in push.sent)
        assert sent.keys() == attempts.keys()  # at least once
        assert all(sent[known] <= attempts[known] for known in attempts)
        repeated = sum(sent.values()) - PEOPLE
        assert 10 <= repeated <= sum(attempts.values()) - PEOPLE
        tickets = owner.execute("select count(*) from push_tickets").fetchone()
        assert tickets == (PEOPLE,)
