"""What the assembled program reports at `/metrics`, over a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from cookcam.integrations.circuit_breaker import FAILURES_TO_OPEN
from tests.features.conftest import Server, open_server
from tests.support.ports import free_ports


@pytest.fixture
async def server(fresh_database_url: str) -> AsyncIterator[Server]:
    [closed] = free_ports(1)
    nobody = f"http://127.0.0.1:{closed}"
    async with open_server(fresh_database_url, USDA_API_BASE_URL=nobody) as opened:
        yield opened


async def sample(server: Server, name: str, **labels: str) -> float:
    """The value of one sample; 0 while there is none."""
    text = (await server.http.get("/metrics")).text
    return next(
        (
            found.value
            for family in text_string_to_metric_families(text)
            for found in family.samples
            if found.name == name and found.labels.items() >= labels.items()
        ),
        0.0,
    )


async def hold_a_connection(server: Server) -> None:
    async with server.database.transaction() as tx:
        await tx.fetch_value("select pg_sleep(0.02)")


async def test_errors_are_counted_by_code_and_rejected_callers_by_type(server: Server) -> None:
    await server.http.get("/api/v1/nowhere")
    await server.http.get("/api/v1/users/me/profile")
    await server.http.get("/api/v1/auth/me", headers={"Authorization": "Bearer broken"})
    assert await sample(server, "errors_total", code="NOT_FOUND") >= 1
    rejected = await sample(server, "security_events_total", type="auth_failure")
    assert rejected >= 1
    assert await sample(server, "security_events_total", type="unauthorized_access") == 0


async def test_reads_transactions_and_waits_of_the_database_are_timed(server: Server) -> None:
    ann = await server.person("Ann")
    await ann.get("/recipes")
    waited = await sample(server, "db_wait_seconds_count")
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(hold_a_connection, server)
    assert await sample(server, "db_wait_seconds_count") > waited
    for operation in ("read", "transaction"):
        count = await sample(server, "db_query_duration_seconds_count", operation=operation)
        assert count >= 1, operation
    assert await sample(server, "db_pool_max") == 8


async def test_a_dead_provider_costs_its_timeout_no_more_once_the_circuit_is_open(
    server: Server,
) -> None:
    usda = server.container.clients.usda
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(Exception, match="SERVICE_UNAVAILABLE"):
            await usda.search({"query": "apple"})
    failed = await sample(server, "provider_requests_total", provider="usda", outcome="unavailable")
    assert failed == FAILURES_TO_OPEN
    assert await sample(server, "provider_circuit_open", provider="usda") == 1
    assert await sample(server, "provider_circuit_open", provider="openai") == 0
    skipped = await sample(
        server, "provider_requests_total", provider="usda", outcome="not_attempted"
    )
    assert skipped >= 1


async def test_stored_work_is_counted_by_queue_and_state(server: Server) -> None:
    ann = await server.person("Ann")
    await server.sql(
        """
insert into public.stripe_webhook_events
  (event_id, event_type, status, attempts, payload, next_attempt_at, claimed_at)
values
  ('evt_1', 'invoice.paid', 'failed', 10, '{}', null, now()),
  ('evt_2', 'invoice.paid', 'failed', 2, '{}', now() - interval '1 hour', now()),
  ('evt_3', 'invoice.paid', 'failed', 2, '{}', now() + interval '1 hour', now()),
  ('evt_4', 'invoice.paid', 'processing', 1, '{}', null, now() - interval '1 hour'),
  ('evt_5', 'invoice.paid', 'processed', 1, '{}', null, now())"""
    )
    await server.sql(
        "insert into public.notification_logs (user_id, type, title, body)"
        " values (%(user)s, 'test', 'Title', 'Body')",
        user=ann.id,
    )
    await server.container.queue_depths.measure()
    expected = {
        ("stripe_webhooks", "dead"): 1,
        ("stripe_webhooks", "overdue"): 2,
        ("stripe_webhooks", "waiting"): 1,
        ("store_webhooks", "waiting"): 0,
        ("notifications", "waiting"): 1,
    }
    for (queue, state), entries in expected.items():
        assert await sample(server, "queue_entries", queue=queue, state=state) == entries
