"""Security events in the database, and the operators' blocklist."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import ip_network
from uuid import uuid4

import pytest
import trio
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cookcam.cli import main
from cookcam.features.operations.security import blocklist as blocklist_module
from cookcam.features.operations.security.blocklist import parse_target
from cookcam.features.operations.security.failed_sign_ins import (
    MAX_ENTRIES,
    WINDOW,
    FailedSignIns,
)
from cookcam.features.operations.security.recorder import EVENTS_PER_MINUTE, SPRAYED_ACCOUNTS
from tests.features.conftest import Client, Server, open_server
from tests.support.live_clients import LiveServer, open_live_server

EVENTS = (
    "select type, severity, host(ip), user_id, details, path, method, user_agent"
    " from security_events order by id"
)
PASSWORD_ROUTE = "/api/v1/auth/signin"


@pytest.fixture
async def server(fresh_database_url: str) -> AsyncIterator[Server]:
    """The app with limits, behind a trusted proxy at the address of the test client."""
    environ = {"ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_MAX_REQUESTS": "200"}
    async with open_server(fresh_database_url, TRUSTED_PROXIES="127.0.0.1/32", **environ) as opened:
        yield opened


async def sign_in(server: Server, email: str, address: str = "192.0.2.1") -> int:
    response = await Client(server.http).post(
        "/auth/signin",
        {"email": email, "password": "Wrong-password-1"},
        headers={"X-Forwarded-For": address, "User-Agent": "CookCam/1.0"},
    )
    return response.status_code


async def events_of(server: Server) -> list[tuple[object, ...]]:
    await server.container.security.buffer.flush()
    return await server.sql(EVENTS)


async def test_wrong_password_is_recorded_without_the_account_in_clear(server: Server) -> None:
    ann = await server.person("Ann")
    assert await sign_in(server, ann.email) == 401
    [(kind, severity, ip, user, details, path, method, agent)] = await events_of(server)
    assert (kind, severity, ip, user) == ("auth_failure", "medium", "192.0.2.1", None)
    assert details["reason"] == "INVALID_CREDENTIALS"
    assert len(details["account"]) == 32
    assert (path, method, agent) == (PASSWORD_ROUTE, "POST", "CookCam/1.0")
    assert ann.email not in str(details)


async def test_rejections_are_classified(server: Server) -> None:
    ann = await server.person("Ann")
    headers = {"X-Forwarded-For": "192.0.2.7"}
    await server.guest.get("/auth/me", headers=headers)
    await ann.get("/analytics/global", headers=headers)
    for _ in range(21):
        await sign_in(server, f"{uuid4()}@example.com", "192.0.2.8")
    rows = await events_of(server)
    found = {(row[0], row[1], row[2], row[4]["reason"]) for row in rows}
    assert ("auth_failure", "low", "192.0.2.7", "AUTHENTICATION_ERROR") in found
    assert ("unauthorized_access", "high", "192.0.2.7", "INSUFFICIENT_PERMISSIONS") in found
    assert ("rate_limit", "low", "192.0.2.8", "RATE_LIMIT_ERROR") in found
    assert next(str(row[3]) for row in rows if row[0] == "unauthorized_access") == ann.id
    assert next(row[4]["bucket"] for row in rows if row[0] == "rate_limit") == "auth"


async def test_repeated_events_of_an_address_raise_one_alert(server: Server) -> None:
    for _ in range(12):
        await server.guest.get("/auth/me", headers={"X-Forwarded-For": "192.0.2.9"})
    await events_of(server)
    await server.guest.get("/auth/me", headers={"X-Forwarded-For": "192.0.2.9"})
    await events_of(server)
    alerts = await server.sql("select type, severity, details ->> 'ip' from security_alerts")
    assert alerts == [("repeated_security_events", "high", "192.0.2.9")]


async def test_one_password_tried_on_many_accounts_is_a_critical_event(server: Server) -> None:
    for n in range(SPRAYED_ACCOUNTS + 3):
        await sign_in(server, f"someone-{n}@example.com", "192.0.2.10")
    rows = await events_of(server)
    critical = [row for row in rows if row[1] == "critical"]
    assert [(row[0], row[2], row[4]) for row in critical] == [
        (
            "suspicious_activity",
            "192.0.2.10",
            {"reason": "PASSWORD_SPRAYING", "accounts": SPRAYED_ACCOUNTS},
        )
    ]
    alerts = await server.sql("select severity from security_alerts where severity = 'critical'")
    assert len(alerts) == 1
    text = server.container.metrics.render().decode()
    assert f"failed_sign_in_accounts_of_an_address {SPRAYED_ACCOUNTS + 3}.0" in text


async def test_flood_of_rejections_is_no_flood_of_rows(server: Server) -> None:
    for _ in range(EVENTS_PER_MINUTE + 15):
        await server.guest.get("/auth/me", headers={"X-Forwarded-For": "192.0.2.11"})
    assert len(await events_of(server)) == EVENTS_PER_MINUTE
    text = server.container.metrics.render().decode()
    assert 'security_event_rows_total{outcome="dropped"} 15.0' in text


async def test_event_of_a_deleted_user_is_kept_without_the_user(server: Server) -> None:
    ann = await server.person("Ann")
    await ann.get("/analytics/global")
    await server.sql("delete from auth.users where id = %(id)s", id=ann.id)
    assert [(row[0], row[3]) for row in await events_of(server)] == [("unauthorized_access", None)]


async def test_health_shows_the_events_and_the_blocklist(server: Server) -> None:
    await sign_in(server, "nobody@example.com")
    await server.guest.get("/auth/me")
    store = server.container.blocklist.store
    await store.add(ip_network("198.51.100.0/24"), "scraping", 1)
    await server.container.blocklist.refresh()
    await events_of(server)
    body = (await server.http.get("/health/security")).json()
    assert body["events"]["last_24h"] == {
        "total": 2,
        "auth_failures": 2,
        "rate_limits": 0,
        "suspicious_activities": 0,
    }
    assert body["failed_login_attempts"] == 1
    assert body["blocked_ips"] == ["198.51.100.0/24"]


# The blocklist


async def test_blocked_network_gets_403_until_it_is_removed(server: Server) -> None:
    blocklist = server.container.blocklist
    headers = {"X-Forwarded-For": "203.0.113.77", "Origin": "http://localhost:8081"}
    await blocklist.store.add(parse_target("203.0.113.0/24"), "scraping", 1)
    assert await blocklist.refresh()
    denied = await server.guest.get("/subscription/tiers", headers=headers)
    assert denied.status_code == 403
    assert denied.json()["error"] == "Access denied"
    assert denied.json()["message"] == "Your access to this service is blocked"
    assert denied.headers["access-control-allow-origin"] == "http://localhost:8081"
    assert (await server.http.get("/health", headers=headers)).status_code == 200
    assert (await server.guest.get("/subscription/tiers")).status_code == 200
    assert [row[:2] for row in await events_of(server)] == [("suspicious_activity", "high")]

    assert await blocklist.store.remove(parse_target("203.0.113.0/24"))
    assert await blocklist.refresh()
    assert (await server.guest.get("/subscription/tiers", headers=headers)).status_code == 200


async def test_blocked_user_gets_403_and_others_do_not(server: Server) -> None:
    ann, bob = await server.person("Ann"), await server.person("Bob")
    assert (await ann.get("/auth/me")).status_code == 200
    await server.container.blocklist.store.add(parse_target(ann.id), "abuse", None)
    await server.container.blocklist.refresh()
    denied = await ann.get("/auth/me")
    assert (denied.status_code, denied.json()["error"]) == (403, "Access denied")
    assert (await bob.get("/auth/me")).status_code == 200


async def test_entry_ends_when_it_expires(server: Server) -> None:
    blocklist = server.container.blocklist
    await blocklist.store.add(parse_target("203.0.113.7"), "scraping", 1)
    await blocklist.refresh()
    assert blocklist.denies_address("203.0.113.7")
    await server.sql(
        "update blocklist set created_at = now() - interval '2 hours',"
        " expires_at = now() - interval '1 hour'"
    )
    await blocklist.refresh()
    assert not blocklist.denies_address("203.0.113.7")


async def test_running_server_closes_and_rejects_the_sockets_of_a_blocked_user(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocklist_module, "INTERVAL", 0.2)
    async with open_live_server(fresh_database_url) as live:
        ann, bob = await live.connect("Ann", plain=True), await live.connect("Bob")
        await block(live, ann.id)
        with trio.fail_after(10):
            await ann.closed.wait()
        assert ann.socket.closed is not None
        assert ann.socket.closed.code == 4403
        assert not bob.closed.is_set()
        headers = {"Authorization": f"Bearer {live.gotrue.issue_token(ann.user)}"}
        assert (await live.server.http.get("/auth/me", headers=headers)).status_code == 403


async def block(live: LiveServer, target: str) -> None:
    """Runs the command, as an operator does."""

    def run() -> None:
        environ = {"DATABASE_URL": live.database_url}
        arguments = ["blocklist", "add", target, "--reason", "abuse", "--hours", "2"]
        result = CliRunner().invoke(main, arguments, env=environ, catch_exceptions=False)
        assert result.exit_code == 0, result.output

    await trio.to_thread.run_sync(run)


def test_command_lists_and_removes_entries(fresh_database_url: str) -> None:
    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(
            main, ["blocklist", *arguments], env={"DATABASE_URL": fresh_database_url}
        )
        return result.exit_code, result.output

    assert call("list") == (0, "none\n")
    assert call("add", "203.0.113.7", "--reason", "scraping") == (
        0,
        "203.0.113.7/32 is denied access for 24 hours\n",
    )
    assert call("add", "203.0.113.7", "--reason", "still", "--permanent")[0] == 0
    status, listed = call("list")
    assert status == 0
    assert listed.splitlines()[0].startswith("203.0.113.7/32  since ")
    assert "permanent  still" in listed
    assert call("remove", "203.0.113.7") == (0, "203.0.113.7/32 has access again\n")
    assert call("remove", "203.0.113.7") == (1, "203.0.113.7/32 is not on the list\n")
    unknown = str(uuid4())
    assert call("add", unknown, "--reason", "x") == (1, f"there is no user {unknown}\n")
    assert call("add", "0.0.0.0/0", "--reason", "x") == (1, "the network is wider than /8\n")
    assert call("add", "somebody", "--reason", "x")[0] == 1


async def test_list_is_kept_while_the_database_is_away(server: Server) -> None:
    blocklist = server.container.blocklist
    await blocklist.store.add(parse_target("203.0.113.7"), "scraping", 1)
    await blocklist.refresh()
    await server.sql("alter table blocklist rename to away")
    assert not await blocklist.refresh()
    assert blocklist.denies_address("203.0.113.7")


# Failed sign-ins


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, int(WINDOW))), max_size=60
    )
)
def test_failed_sign_ins_are_those_of_the_window(failures: list[tuple[int, int, int]]) -> None:
    now = 0.0
    failed = FailedSignIns(lambda: now)
    latest: dict[tuple[str, str], float] = {}
    for address, account, gap in failures:
        now += gap
        latest[f"a{address}", f"u{account}"] = now
        failed.add(f"a{address}", f"u{account}")
        current = [pair for pair, at in latest.items() if now - at < WINDOW]
        assert failed.accounts() == len({account for _, account in current})
        by_address = [len([1 for one, _ in current if one == a]) for a, _ in current]
        assert failed.most_accounts_of_an_address() == max(by_address, default=0)


def test_failed_sign_ins_are_bounded() -> None:
    failed = FailedSignIns(lambda: 0.0)
    for n in range(MAX_ENTRIES + 10):
        failed.add("one", str(n))
    assert failed.accounts() == failed.most_accounts_of_an_address() == MAX_ENTRIES
