"""`cookcam notifications`: failed pushes and mails are listed, and are due again."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import trio
from click.testing import CliRunner, Result

from cookcam.cli.notifications import notifications
from tests.support.postgres import as_owner
from tests.support.users import create_user

IDS = {name: f"00000000-0000-4000-8000-00000000000{number}" for number, name in enumerate("abcd")}


@pytest.fixture
def queue(fresh_database_url: str) -> str:
    user = trio.run(create_user, fresh_database_url)
    rows = [
        ("a", "app", "level_up", "failed", "INVALID_ARGUMENT", "5 days"),
        ("b", "mail", "payment_failed", "failed", "550", "1 hour"),
        ("c", "reminder", "daily_checkin", "failed", "INVALID_ARGUMENT", "1 hour"),
        ("d", "app", "level_up", "sent", None, "1 hour"),
    ]
    with psycopg.connect(as_owner(fresh_database_url), autocommit=True) as connection:
        for name, channel, kind, status, reason, age in rows:
            connection.execute(
                """
insert into public.notification_logs (
  id, user_id, channel, type, title, body, status, attempts, error_message, created_at, expires_at
)
values (%s, %s, %s, %s, 'A secret title', 'A secret text', %s, 8, %s,
  now() - %s::interval, now() - %s::interval + interval '1 day')""",
                (IDS[name], user, channel, kind, status, reason, age, age),
            )
    return fresh_database_url


def cli(url: str, *arguments: str) -> Result:
    return CliRunner(env={"DATABASE_URL": url, "APP_ENV": "test"}).invoke(notifications, arguments)


def due(url: str) -> set[str]:
    """The notifications that a sender would claim now and that have not expired."""
    with psycopg.connect(as_owner(url)) as connection:
        rows: list[Any] = connection.execute(
            """
select id::text from public.notification_logs
where status = 'queued' and next_attempt_at <= now() and expires_at > now() and attempts = 0"""
        ).fetchall()
    return {key for (key,) in rows}


def test_failed_notifications_are_listed_without_text(queue: str) -> None:
    output = cli(queue, "list").output
    lines = output.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"app      {IDS['a']} level_up  created ")
    assert lines[0].endswith("  8 attempts  INVALID_ARGUMENT")
    assert "secret" not in output


def test_empty_list_says_none(fresh_database_url: str) -> None:
    assert cli(fresh_database_url, "list").output == "none\n"


def test_failed_notifications_are_due_again_and_reminders_are_not(queue: str) -> None:
    result = cli(queue, "retry")
    assert (result.exit_code, result.output) == (0, "2 notifications due again\n")
    assert due(queue) == {IDS["a"], IDS["b"]}
    assert cli(queue, "retry").output == "0 notifications due again\n"


def test_one_notification_is_named(queue: str) -> None:
    assert cli(queue, "retry", "--id", IDS["b"]).output == "1 notification due again\n"
    assert due(queue) == {IDS["b"]}
    result = cli(queue, "retry", "--id", IDS["d"])
    assert result.exit_code == 1
    assert f"no notification {IDS['d']} has failed" in result.output
