"""`cookcam webhooks`: failed events are listed, and processed again by the running inbox."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from cookcam.cli.webhooks import webhooks
from tests.support.postgres import as_owner


@pytest.fixture
def events(fresh_database_url: str) -> str:
    with psycopg.connect(as_owner(fresh_database_url), autocommit=True) as connection:
        connection.execute(
            """
insert into public.stripe_webhook_events
  (event_id, event_type, status, attempts, payload, next_attempt_at, error_message)
values
  ('evt_dead', 'invoice.paid', 'failed', 10, '{}', null, 'no such plan'),
  ('evt_due', 'invoice.paid', 'failed', 2, '{}', now() + interval '1 hour', 'timeout'),
  ('evt_done', 'invoice.paid', 'processed', 1, '{}', null, null)"""
        )
        connection.execute(
            """
insert into public.iap_webhook_logs
  (platform, notification_id, notification_type, status, attempts, payload, next_attempt_at)
values ('ios', 'note_dead', 'DID_RENEW', 'failed', 10, '{}', null)"""
        )
    return fresh_database_url


def cli(url: str, *arguments: str) -> Result:
    return CliRunner(env={"DATABASE_URL": url, "APP_ENV": "test"}).invoke(webhooks, arguments)


def due(url: str) -> dict[str, int]:
    """The events that an inbox would claim now, with their attempts."""
    with psycopg.connect(as_owner(url)) as connection:
        rows: list[Any] = connection.execute(
            """
select event_id, attempts from public.stripe_webhook_events
where status = 'failed' and next_attempt_at <= now()
union all
select notification_id, attempts from public.iap_webhook_logs
where status = 'failed' and next_attempt_at <= now()"""
        ).fetchall()
    return dict(rows)


def test_failed_events_are_listed_with_their_reason(events: str) -> None:
    lines = cli(events, "list").output.splitlines()
    assert len(lines) == 3
    assert "evt_dead" in lines[0] or "evt_due" in lines[0]
    [dead] = [line for line in lines if "evt_dead" in line]
    assert dead.startswith("stripe ")
    assert "10 attempts  given up  no such plan" in dead
    assert any(line.startswith("ios ") and "note_dead" in line for line in lines)


def test_empty_list_says_none(fresh_database_url: str) -> None:
    assert cli(fresh_database_url, "list").output == "none\n"


def test_events_that_were_given_up_are_due_again_and_others_stay(events: str) -> None:
    assert due(events) == {}
    result = cli(events, "retry")
    assert (result.exit_code, result.output) == (0, "2 events due again\n")
    assert due(events) == {"evt_dead": 1, "note_dead": 1}
    assert cli(events, "retry").output == "0 events due again\n"


def test_one_event_is_named(events: str) -> None:
    assert cli(events, "retry", "--event", "evt_due").output == "1 event due again\n"
    assert due(events) == {"evt_due": 1}
    result = cli(events, "retry", "--event", "evt_done")
    assert result.exit_code == 1
    assert "no event evt_done has failed" in result.output


def test_a_database_that_is_away_is_one_line() -> None:
    result = cli("postgresql://nobody@127.0.0.1:1/none", "list")
    assert result.exit_code == 1
    assert result.output == "the database does not answer: SERVICE_UNAVAILABLE\n"
