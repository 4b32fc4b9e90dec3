"""`/reconciliation` over HTTP in the whole program, the command, and the schedule."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
import trio
from attrs import define, field, frozen

from cookcam.config import loading
from cookcam.errors import DatabaseError
from cookcam.features.billing.reconciliation.models import RunMetrics
from cookcam.features.billing.reconciliation.schedule import Schedule, next_time
from cookcam.features.billing.reconciliation.service import Reconciliation, UserReconciliation
from cookcam.features.billing.reconciliation.store import LastRun
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.stripe import FakeStripe, open_stripe
from tests.features.conftest import ApiUser, Client
from tests.identity.project import new_user, open_project
from tests.support.app import open_app
from tests.support.commands import clean_environment
from tests.support.reconciliation import new_users, period_of, run_sql, store_as_sold
from tests.support.whole_server import ServerUnderTest, environment, whole_server

KEY = "operations-key-of-32-characters-or-more"
PREVIOUS_KEY = "previous-key-of-32-characters-or-more"
OPERATED = (
    ("POST", "/reconciliation/run"),
    ("GET", "/reconciliation/metrics"),
    ("GET", "/reconciliation/health"),
    ("GET", "/reconciliation/alerts"),
)


@frozen
class Program:
    """The whole program with a fake Stripe, an administrator and a user."""

    url: str
    server: ServerUnderTest
    stripe: FakeStripe
    admin: ApiUser
    ann: ApiUser
    guest: Client

    async def sell(self, user: ApiUser, status: str = "active") -> str:
        """Creates a subscription at Stripe, and its row with `status`."""
        (ref,) = self.stripe.stock(1, metadata=lambda _: {"user_id": user.id, "tier_id": "2"})
        start, end = period_of(self.stripe.get("subscription", ref))
        await store_as_sold(self.url, [UUID(user.id)], [ref], start, end)
        await run_sql(
            self.url,
            "update public.user_subscriptions set status = %(status)s"
            " where provider_subscription_id = %(ref)s",
            status=status,
            ref=ref,
        )
        return ref

    async def status_of(self, ref: str) -> str:
        (row,) = await run_sql(
            self.url,
            "select status from public.user_subscriptions where provider_subscription_id = %(ref)s",
            ref=ref,
        )
        return row["status"]


@pytest.fixture
async def program(fresh_database_url: str) -> AsyncIterator[Program]:
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(fresh_database_url))
        stripe = await stack.enter_async_context(open_stripe())
        environ = environment(
            fresh_database_url,
            gotrue,
            STRIPE_SECRET_KEY=stripe.key,
            STRIPE_API_BASE=stripe.url,
            OPERATIONS_API_KEY=f"{KEY},{PREVIOUS_KEY}",
        )
        server = await stack.enter_async_context(whole_server(environ))
        users: list[ApiUser] = []
        for name, role in (("Ada", "admin"), ("Ann", None)):
            user = await new_user(gotrue, name, role)
            users.append(ApiUser(_Root(server), gotrue.issue_token(user), user))
        yield Program(fresh_database_url, server, stripe, users[0], users[1], Client(_Root(server)))


class _Root:
    """Adapter: the clients of other tests pass whole paths."""

    def __init__(self, server: ServerUnderTest) -> None:
        self.server = server

    async def request(self, method: str, path: str, **kwargs: Any) -> Any:
        return await self.server.http.request(method, f"{self.server.url}{path}", **kwargs)


async def until(condition: Any) -> None:
    with trio.fail_after(10):
        while not await condition():
            await trio.sleep(0.02)


async def test_endpoints_of_operators(program: Program):
    admin = program.admin
    for method, path in OPERATED:
        anonymous = await program.guest.request(method, path)
        assert (anonymous.status_code, anonymous.json()["error"]) == (
            401,
            "Authentication required",
        )
        for key in (KEY + "x", f"{KEY},{PREVIOUS_KEY}"):
            wrong = await program.guest.request(method, path, headers={"X-API-Key": key})
            assert wrong.status_code == 401
        other = await program.ann.request(method, path)
        assert other.status_code == 403
        body = other.json()
        assert (body["error"], body["code"], body["statusCode"]) == ("FORBIDDEN", "FORBIDDEN", 403)
        assert {"message", "requestId", "timestamp", "path"} <= body.keys()
    for path in ("metrics", "health", "alerts"):
        for key in (KEY, PREVIOUS_KEY):
            headers = {"X-API-Key": key}
            with_key = await program.guest.get(f"/reconciliation/{path}", headers=headers)
            assert with_key.json()["success"] is True
            assert with_key.json()[path] == []

    ref = await program.sell(program.ann, "past_due")
    started = await admin.post("/reconciliation/run")
    assert started.status_code == 200
    response = started.json()
    assert response.keys() == {"success", "message", "timestamp"}
    assert (response["success"], response["message"]) == (True, "Reconciliation job started")
    assert response["timestamp"].endswith("Z")

    async def is_finished() -> bool:
        return bool((await admin.get("/reconciliation/metrics")).json()["metrics"])

    await until(is_finished)
    assert await program.status_of(ref) == "active"
    (row,) = (await admin.get("/reconciliation/metrics")).json()["metrics"]
    assert row.keys() == {
        "id", "total_checked", "expired_count", "updated_count", "errors_count", "drift_detected",
        "duration_ms", "reconciled_at", "created_at",
    }  # fmt: skip
    assert (row["total_checked"], row["drift_detected"], row["errors_count"]) == (1, 1, 0)
    health = (await admin.get("/reconciliation/health")).json()
    (day,) = health["health"]
    assert day == {
        "date": row["reconciled_at"][:10],
        "runs_per_day": 1,
        "avg_subscriptions_checked": 1.0,
        "avg_drift_detected": 1.0,
        "avg_errors": 0.0,
        "avg_duration_ms": row["duration_ms"],
        "max_duration_ms": row["duration_ms"],
        "runs_with_errors": 0,
        "drift_rate_percentage": 100.0,
    }
    alerts = (await admin.get("/reconciliation/alerts")).json()
    assert (alerts["success"], alerts["count"]) == (True, 1)
    (alert,) = alerts["alerts"]
    assert (alert["id"], alert["alert_level"]) == (row["id"], "HIGH_DRIFT_RATE")
    assert (alert["error_rate_percentage"], alert["drift_rate_percentage"]) == (0.0, 100.0)
    metrics = await program.server.http.get(f"{program.server.url}/metrics")
    assert "reconciliation_last_run_drift 1.0" in metrics.text


async def test_running_job_is_not_started_twice(program: Program):
    program.stripe.behaviour.delay = 0.3
    first, second = await program.admin.post("/reconciliation/run"), None
    second = await program.guest.post("/reconciliation/run", headers={"X-API-Key": KEY})
    assert "alreadyRunning" not in first.json()
    assert (second.status_code, second.json()["alreadyRunning"]) == (200, True)

    async def is_finished() -> bool:
        return bool((await program.admin.get("/reconciliation/metrics")).json()["metrics"])

    await until(is_finished)
    assert len((await program.admin.get("/reconciliation/metrics")).json()["metrics"]) == 1


async def test_user_reconciles_only_own_subscriptions(program: Program):
    ann, admin = program.ann, program.admin
    own, other = await program.sell(ann, "past_due"), await program.sell(admin, "past_due")
    anonymous = await program.guest.post(f"/reconciliation/user/{ann.id}")
    assert anonymous.status_code == 401
    for path in (admin.id, "me", "%20"):
        foreign = await ann.post(f"/reconciliation/user/{path}")
        assert (foreign.status_code, foreign.json()["code"]) == (403, "FORBIDDEN")
    done = await ann.post(f"/reconciliation/user/{ann.id}")
    assert done.status_code == 200
    assert done.json() == {
        "success": True, "message": "User subscriptions reconciled", "userId": ann.id
    }  # fmt: skip
    assert await program.status_of(own) == "active"
    assert await program.status_of(other) == "past_due"
    again = await ann.post(f"/reconciliation/user/{ann.id}")
    assert (again.status_code, again.json()["code"]) == (429, "RATE_LIMIT_ERROR")
    assert 0 < again.json()["retryAfter"] <= 60


class _Broken:
    """A store whose database always fails."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*args: Any) -> None:
            raise DatabaseError

        return fail


async def test_database_failure_is_a_database_error(database_url: str):
    broken: Any = _Broken()
    async with AsyncExitStack() as stack:
        gotrue = await stack.enter_async_context(open_project(database_url))
        settings = loading.load(environment(database_url, gotrue, REALTIME_BUS="local"))
        app = await stack.enter_async_context(
            open_app(
                settings,
                lambda built: {
                    "reconciliation": Reconciliation(broken, [], broken, built.now, Metrics()),
                    "user_reconciliation": UserReconciliation(broken, [], broken, built.now),
                },
            )
        )
        http = app.http
        user = await new_user(gotrue, "Ada", "admin")
        ada = ApiUser(http, gotrue.issue_token(user), user)
        for path in ("metrics", "health", "alerts"):
            failed = await ada.get(f"/reconciliation/{path}")
            assert (failed.status_code, failed.json()["error"]) == (500, "DATABASE_ERROR")
        failed = await ada.post(f"/reconciliation/user/{ada.id}")
        assert failed.status_code == 500


@define
class CommandSetup:
    """A database and a fake Stripe with 800 subscriptions."""

    url: str
    stripe: FakeStripe
    refs: list[str]

    def environ(self) -> dict[str, str]:
        return clean_environment(
            APP_ENV="test",
            DATABASE_URL=self.url,
            SUPABASE_URL="http://127.0.0.1:9",
            SUPABASE_ANON_KEY="none",
            SUPABASE_SERVICE_ROLE_KEY="none",
            OPENAI_API_KEY="none",
            STRIPE_SECRET_KEY=self.stripe.key,
            STRIPE_API_BASE=self.stripe.url,
            PORT=self.stripe.url.rpartition(":")[2],  # taken: the command opens no port
        )

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cookcam", "reconcile"]
        return subprocess.Popen(
            command, env=self.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    async def finish(self, process: subprocess.Popen[bytes]) -> tuple[int, str]:
        out, _ = await trio.to_thread.run_sync(process.communicate, abandon_on_cancel=True)
        return process.returncode, out.decode()


@pytest.fixture
async def command(fresh_database_url: str) -> AsyncIterator[CommandSetup]:
    async with open_stripe() as stripe:
        users = await new_users(fresh_database_url, 800)
        refs = stripe.stock(800, metadata=lambda n: {"user_id": str(users[n]), "tier_id": "2"})
        start, end = period_of(stripe.get("subscription", refs[0]))
        await store_as_sold(fresh_database_url, users, refs, start, end)
        yield CommandSetup(fresh_database_url, stripe, refs)


async def test_killed_run_is_resumed_without_repeating_pages(command: CommandSetup):
    differing = command.refs[::80]
    await run_sql(
        command.url,
        "update public.user_subscriptions set status = 'past_due'"
        " where provider_subscription_id = any(%(refs)s)",
        refs=differing,
    )
    command.stripe.behaviour.delay = 0.15
    killed = command.start()

    async def is_half_way() -> bool:
        rows = await run_sql(command.url, "select total_checked as n from reconciliation_runs")
        return bool(rows) and rows[0]["n"] >= 300

    with trio.fail_after(30):
        while not await is_half_way():
            await trio.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    await command.finish(killed)
    (left,) = await run_sql(command.url, "select * from public.reconciliation_runs")
    assert left["finished_at"] is None
    command.stripe.behaviour.delay = 0.0
    before = len(command.stripe.requests)
    status, output = await command.finish(command.start())
    assert status == 0, output
    assert "800 checked, 10 differed, 10 corrected, 0 expired, 0 errors" in output
    assert "Scheduled reconciliation job completed successfully" in output
    pages = 8 - left["total_checked"] // 100
    assert len(command.stripe.requests) - before == pages
    history = await run_sql(command.url, "select subscription_id from subscription_history")
    assert len({row["subscription_id"] for row in history}) == len(history) == 10
    assert len(await run_sql(command.url, "select id from public.reconciliation_metrics")) == 1


async def test_second_process_does_nothing_and_exceeded_threshold_is_a_failure(
    command: CommandSetup,
):
    command.stripe.behaviour.delay = 2.0
    first = command.start()

    async def has_started() -> bool:
        return bool(await run_sql(command.url, "select id from public.reconciliation_runs"))

    with trio.fail_after(30):
        while not await has_started():
            await trio.sleep(0.02)
    status, output = await command.finish(command.start())
    assert (status, "reconciliation is running elsewhere" in output) == (0, True)
    # More than 5 % differ when the first process reads the older half.
    await run_sql(command.url, "update public.user_subscriptions set status = 'past_due'")
    command.stripe.behaviour.delay = 0.0
    status, output = await command.finish(first)
    assert (status, "HIGH_DRIFT_RATE" in output) == (1, True), output


class TestSchedule:
    def test_next_time_is_today_or_tomorrow(self):
        at, day = time(2, 0), timedelta(days=1)
        morning = datetime(2026, 3, 29, 2, 0, tzinfo=UTC)
        assert next_time(at, morning - timedelta(seconds=1)) == morning
        assert next_time(at, morning) == morning + day

    async def test_runs_daily_on_request_and_after_a_missed_run(self, autojump_clock: Any):
        began = datetime(2026, 1, 1, 20, 0, tzinfo=UTC)

        def now() -> datetime:
            return began + timedelta(seconds=trio.current_time() - start)

        start, runs = trio.current_time(), _Runs(now)
        # The last run was 45 hours ago: the run of today 02:00 was missed.
        runs.last = LastRun(began - timedelta(hours=45), began - timedelta(hours=45))
        schedule = Schedule(runs, time(2, 0), now)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(schedule.run)
            await trio.sleep(60)
            assert [at.day for at in runs.at] == [1]
            await trio.sleep(3 * 86_400)
            assert [(at.day, at.hour, at.minute) for at in runs.at[1:]] == [
                (2, 2, 0), (3, 2, 0), (4, 2, 0)
            ]  # fmt: skip
            runs.requested.set()
            await trio.sleep(1)
            assert len(runs.at) == 5
            nursery.cancel_scope.cancel()

    async def test_interrupted_run_is_resumed_after_the_start(self, autojump_clock: Any):
        runs = _Runs(lambda: datetime(2026, 1, 1, 20, 0, tzinfo=UTC))
        runs.last = LastRun(datetime(2026, 1, 1, 19, 0, tzinfo=UTC), None)
        with trio.move_on_after(20):
            await Schedule(runs, None, runs.now).run()  # type: ignore[arg-type]
        assert len(runs.at) == 1


@define(eq=False)
class _Runs:
    """Fake of `Reconciliation` that records its runs."""

    now: Any
    last: LastRun | None = None
    at: list[datetime] = field(factory=list)
    requested: trio.Event = field(factory=trio.Event)

    @property
    def store(self) -> _Runs:
        return self

    async def last_run(self) -> LastRun | None:
        return self.last

    async def run(self, *, unless_since: datetime | None = None) -> RunMetrics | None:
        if unless_since is not None and self.last is not None:
            assert self.last.began_at < unless_since
        self.at.append(self.now())
        self.last = LastRun(self.now(), self.now())
        return None

    async def wait_for_request(self) -> None:
        await self.requested.wait()

    @property
    def is_requested(self) -> bool:
        return self.requested.is_set()

    def clear_request(self) -> None:
        self.requested = trio.Event()

    async def export_newest(self) -> RunMetrics | None:
        return None
