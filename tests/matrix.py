"""The test matrix of the deployment: every row, run by one command.

    python -m tests.matrix [--row N]... [--write docs/matrix.md] [-n WORKERS]

Each row names the tests that verify it. A row is `passed` when all of its tests passed, `skipped`
when one was skipped because a program outside of Python is missing, `failed` when one failed, and
`by command` when it is no test. Exit status 1 when a row failed.

The tests of deployments start several processes each and have time limits: they run after the
others, one at a time. A row that is not run keeps the result that the page has.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from attrs import define, field, frozen

ROOT = Path(__file__).parents[1]

RESULT = re.compile(r"^\| (\d+) \| .*? \| (.*?) \| ", re.MULTILINE)

State = Literal["passed", "failed", "skipped", "by command"]


@frozen
class Row:
    """A row of the matrix. `tests` are files, classes or tests, as pytest names them below
    `tests/`; `note` says how a row without tests is verified, or what the tests leave out."""

    number: int
    check: str
    tests: Sequence[str] = ()
    note: str = ""


def row(number: int, check: str, *tests: str, note: str = "") -> Row:
    return Row(number, check, tests, note)


STRIPE = "features/billing/test_stripe_webhooks.py"
PURCHASES = "features/billing/test_purchases.py"
ACCOUNTS = "features/accounts/test_accounts.py"
PROCESS = "deploy/test_process.py"

ROWS: Sequence[Row] = (
    row(
        1,
        "A missing required variable stops the start and is named",
        "test_config.py::test_a_required_variable_is_missed_in_every_environment",
        "test_config.py::test_a_deployment_has_no_fallback",
        "test_cli.py::test_serve_without_a_key_names_it_and_exits_1",
    ),
    row(
        2,
        "Invalid URL, short secret, bad number, bad boolean, placeholder",
        "test_config.py::test_a_bad_value_is_one_line_that_names_the_rule_and_not_the_value",
        "test_config.py::test_a_placeholder_passes_in_development_only",
        "config/test_hostile_values.py",
    ),
    row(
        3,
        "The full set starts; its lines in order",
        "deploy/test_process.py::test_production_logs_json_and_reports_to_sentry_and_flushes",
    ),
    row(4, "The example file lists exactly the known variables", "test_env_example.py"),
    row(5, "No secret in any line of the start", "test_secrecy.py", "config/test_secrecy.py"),
    row(
        6,
        "Sign-up, sign-in, refresh, sign-out",
        f"{ACCOUNTS}::TestSigningUp",
        f"{ACCOUNTS}::TestSigningIn",
        f"{ACCOUNTS}::TestSigningOut",
        f"{ACCOUNTS}::TestRefreshing",
    ),
    row(
        7,
        "Expired, malformed, foreign, revoked token, over HTTP and sockets",
        f"{ACCOUNTS}::TestTokens",
        "identity/test_tokens.py",
        "realtime/test_handshake.py",
    ),
    row(8, "Two sessions of one user; sign-out of one", f"{ACCOUNTS}::TestSigningOut"),
    row(
        9,
        "One user's sign-in never changes another's request",
        f"{ACCOUNTS}::TestSigningIn::test_interleaved_sign_ins_never_mix_identities",
    ),
    row(
        10,
        "Brute force is limited; other traffic does not use that quota",
        "http/test_rate_limit.py::test_reading_does_not_use_up_sign_ins",
        "http/test_rate_limit.py::test_the_21st_sign_in_is_rejected_and_reading_goes_on",
    ),
    row(
        11,
        "Free user refused, premium allowed, expired reverted",
        "features/billing/test_subscriptions.py",
        "features/billing/test_stripe_journey.py::test_access_without_payment_ends_after_the_grace",
    ),
    row(
        12,
        "Administrator routes refuse ordinary users, allow administrators",
        "contract/test_admin_routes.py",
        "identity/test_guards.py",
    ),
    row(
        13,
        "The tier follows the subscription",
        "features/billing/test_stripe_journey.py",
        "features/billing/test_purchase_journeys.py",
    ),
    row(14, "A referral code is linked once", "features/accounts/test_referrals.py"),
    row(
        15,
        "Security headers: DENY, nosniff, HSTS, CSP, on every status class",
        "http/test_headers.py::test_every_answer_has_the_security_headers_once",
    ),
    row(16, "CORS: listed and unlisted origin, preflight, 429 and 500", "http/test_headers.py"),
    row(17, "Checkout is created; text of a failure", "features/billing/test_stripe_checkout.py"),
    row(
        18,
        "Webhook: valid signature accepted, byte-exact body",
        f"{STRIPE}::TestDefects::test_defect_the_signature_is_over_the_bytes_as_they_came",
    ),
    row(19, "Webhook: bad, missing, old signature: 400, nothing stored", f"{STRIPE}::TestAnswers"),
    row(
        20,
        "The same event twice, and twice at once",
        f"{STRIPE}::TestAnswers",
        f"{STRIPE}::TestDefects::test_defect_parallel_deliveries_are_done_once",
    ),
    row(
        21,
        "Subscription created, updated, deleted; invoice failed; refund",
        "features/billing/test_stripe_journey.py",
    ),
    row(
        22,
        "Crash between receipt and effect: processed once",
        "features/billing/test_webhook_chaos.py",
        f"{STRIPE}::TestDefects::test_defect_a_crash_does_not_keep_an_event_forever",
    ),
    row(
        23,
        "Apple: production, sandbox, expired, upgrade, downgrade, trial, permanent error",
        f"{PURCHASES}::TestApple",
        f"{PURCHASES}::TestWhatCountsIsTheStore",
    ),
    row(
        24,
        "Google: valid, pending, trial, refunded, acknowledged, 404, 429 with retry",
        f"{PURCHASES}::TestGoogle",
        f"{PURCHASES}::TestOutages",
    ),
    row(25, "Duplicate receipt of the same and of another user", f"{PURCHASES}::TestWhoseItIs"),
    row(26, "Retry after 1, 2, 4 s up to 10 s", "integrations/test_retry.py"),
    row(
        27,
        "Ten validations at once take less than 10 s",
        "features/billing/test_purchase_concurrency.py",
    ),
    row(
        28,
        "Suspicious users are listed",
        "database/test_money_rules.py::test_user_with_too_many_validations_is_listed",
    ),
    row(
        29,
        "Reconciliation: expiry, drift of each provider, metrics, thresholds",
        "features/billing/test_reconciliation.py",
        "features/billing/test_reconciliation_stores.py",
    ),
    row(
        30,
        "Two reconciliations at once: no double effect",
        "features/billing/test_reconciliation.py::TestLock",
        "features/billing/test_reconciliation_http.py",
    ),
    row(
        31,
        "The reconciliation process never listens",
        "features/billing/test_reconciliation_http.py",
    ),
    row(
        32,
        "/health: 200 with uptime, websocket, release",
        "features/operations/test_health.py::test_health_says_what_is_running",
    ),
    row(
        33,
        "/health/ready: 503 with the database down, a pending migration, while draining",
        "features/operations/test_health.py",
        "test_outage.py",
    ),
    row(
        34,
        "Guarded health routes refuse the public",
        "features/operations/test_health.py::test_the_inside_is_for_key_holders_and_this_machine",
    ),
    row(
        35,
        "Core routes in the app's shapes",
        "contract/test_client.py",
        "contract/test_overview.py",
    ),
    row(36, "Every error status has the one shape with a request id", "http/test_errors.py"),
    row(37, "Database codes and their statuses", "database/test_failures.py"),
    row(
        38,
        "Exception of a handler: response, report, the process lives",
        "http/test_errors.py::test_failing_request_does_not_affect_the_next",
        "serving/test_containment.py",
    ),
    row(
        39,
        "A client's disconnect cancels the work",
        "test_outage.py::test_query_is_cancelled_when_its_client_disconnects",
    ),
    row(
        40,
        "Generation over the limit: 504, stored state consistent",
        "features/recipes/test_generation_faults.py",
    ),
    row(
        41,
        "10 MB image accepted, 15 MB refused with JSON, also through nginx",
        "http/test_body_limit.py",
        "deploy/test_nginx.py::test_body_size_is_limited_by_path",
    ),
    row(
        42,
        "Image without ingredients; empty search; last page",
        "features/food/test_scans.py",
        "features/recipes/test_recipes.py",
    ),
    row(43, "No N+1: reads of a list are bounded", "features/recipes/test_recipes.py"),
    row(
        44,
        "p95 under load, as a ratio to a baseline",
        note="`python -m tests.benchmarks.bench_overload`, on an idle machine;"
        " docs/performance.md has the figures",
    ),
    row(
        45,
        "Tables, indexes, foreign keys, checks exist",
        "database/test_row_level_security.py",
        "database/test_schema.py",
    ),
    row(
        46,
        "No orphans after each delete",
        "features/accounts/test_account_deletion.py::TestDeletingAnAccount",
        "database/test_kitchen_rules.py::test_deleting_an_account_deletes_its_rows",
    ),
    row(
        47,
        "Migrate from empty, from before, twice, concurrently, interrupted",
        "database/test_migrate.py",
    ),
    row(
        48,
        "The previous release runs on the new schema: migrations only expand",
        "database/test_expand_only.py",
        "database/test_previous_release.py",
        note="the statements of the previous release are prepared; its tests are not run",
    ),
    row(
        49,
        "Row-level security of each table: own, other, anonymous",
        "database/test_row_level_security.py",
        "database/test_kitchen_access.py",
        "database/test_money_access.py",
    ),
    row(50, "nginx: redirect, body size, JSON errors, limits, upgrade", "deploy/test_nginx.py"),
    row(51, "A socket idle for longer than nginx's read time", "deploy/test_nginx_sockets.py"),
    row(52, "Error reports: sent, with release, environment, tag", "observability/test_sentry.py"),
    row(
        53,
        "No authorization, cookie, key or password in a report",
        "observability/test_sentry.py::test_no_seeded_secret_is_in_any_envelope",
    ),
    row(
        54,
        "Fingerprints: payment, database, validation, precedence",
        "observability/test_sentry_events.py",
    ),
    row(
        55,
        "Probes are neither traced nor breadcrumbs; sample rate",
        "observability/test_sentry.py::test_the_share_of_traced_requests_depends_on_the_environment",
        "http/test_edge.py::test_ordinary_requests_are_traced_and_probes_are_not",
    ),
    row(
        56,
        "Production logs are JSON lines with the request id",
        f"{PROCESS}::test_production_logs_json_and_reports_to_sentry_and_flushes",
        "http/test_edge.py::test_every_line_inside_a_request_has_its_id",
    ),
    row(
        57,
        "Redaction: keys, nested, lists, patterns; errors and dates stay",
        "observability/test_redaction_names.py",
        "observability/test_redaction_text.py",
        "observability/test_redaction_values.py",
        "observability/test_redaction_spellings.py",
    ),
    row(
        58,
        "The log level is honoured",
        "observability/test_logging.py::test_the_log_level_is_honoured_for_our_lines_and_for_libraries",
    ),
    row(
        59,
        "Socket authentication with real clients; ids in the log",
        "realtime/test_handshake.py",
        "realtime/test_real_clients.py",
    ),
    row(
        60,
        "SIGTERM during a slow request: it completes, exit 0",
        f"{PROCESS}::test_a_request_in_flight_is_answered_before_the_end",
    ),
    row(
        61,
        "SIGTERM with 1 and 200 sockets: announced, closed cleanly, exit 0",
        "deploy/test_drain_at_scale.py::test_every_socket_is_notified_and_every_request_is_answered",
        "realtime/test_drain.py",
    ),
    row(
        62,
        "SIGTERM with a request that never ends: cut, exit 1, named",
        "deploy/test_drain_at_scale.py::test_request_that_never_ends_is_cut_at_the_timeout_and_named",
    ),
    row(
        63, "A second signal ends at once, exit 1", f"{PROCESS}::test_a_second_signal_ends_at_once"
    ),
    row(
        64,
        "SIGINT is SIGTERM; a signal during the start",
        f"{PROCESS}::test_a_signal_during_the_start_ends_it_without_a_traceback",
        "lifecycle/test_shutdown.py",
    ),
    row(
        65,
        "Reload under load through nginx: no 5xx, sockets reconnect",
        "deploy/test_rolling_restart.py",
    ),
    row(
        66,
        "PM2: readiness, kill_timeout, crash backoff, memory cap",
        "deploy/test_pm2.py",
        "deploy/test_restarts.py::test_restart_crash_memory_cap_and_cron_lose_no_request",
    ),
    row(67, "Port in use: one line, exit 1", f"{PROCESS}::test_a_port_in_use_is_one_line"),
    row(
        68,
        "Redis, identity, database away at the start and in flight, and back",
        "test_outage.py",
        "integrations/test_redis.py",
        f"{ACCOUNTS}::TestAnOutageOfTheProvider",
        "database/test_pool_outages.py",
    ),
    row(
        69,
        "A background task that crashes is restarted and counted",
        "lifecycle/test_background.py",
    ),
    row(
        70,
        "Account deletion: every column of the schema, identity, receipt",
        "features/accounts/test_personal_data.py",
        "features/accounts/test_account_deletion.py",
    ),
    row(
        71,
        "Deletion with the identity service down: finished later",
        "features/accounts/test_account_deletion.py::TestAnOutage",
        "features/accounts/test_account_deletion_kills.py",
    ),
    row(
        72,
        "The export has every table that the deletion lists",
        "features/accounts/test_personal_data.py",
        "features/accounts/test_account_export.py",
    ),
    row(
        73,
        "Retention deletes exactly what is due",
        "features/operations/test_retention.py",
        "features/operations/test_retention_rows.py",
    ),
    row(
        74,
        "A backup is restored into an empty database, counts equal",
        "deploy/test_restore_drill.py",
        "database/test_dumps.py",
    ),
    row(75, "OpenAPI matches the routes", "contract/test_openapi.py"),
    row(
        76,
        "No secret in the repository, no print, names of migrations",
        "test_repository.py",
        "database/test_migrate.py::test_names_are_unique_and_in_order",
    ),
    row(
        77,
        "Dependency audit without high findings",
        note="`pipx run pip-audit --require-hashes -r requirements/runtime.lock`; needs a network:"
        " a step of .github/workflows/ci.yml",
    ),
    row(
        78,
        "A new user: sign-up, scan, previews, recipe, favourite, list",
        "contract/test_client.py",
        "sandbox/test_dev_server.py",
    ),
    row(
        79,
        "A subscriber: subscribe, active at once, cancel, grace, expiry",
        "features/billing/test_stripe_journey.py::test_buy_renew_fail_recover_cancel_expire",
    ),
    row(80, "A roll-back takes less than five minutes", "deploy/test_pm2.py"),
    row(
        81,
        "Restart by PM2, crash, memory cap, cron, with load and two instances",
        "deploy/test_restarts.py::test_restart_crash_memory_cap_and_cron_lose_no_request",
        "deploy/test_rolling_restart.py",
        note="a POST in flight at a killed process is a 502, which the client repeats",
    ),
    row(
        82,
        "Restart and crash under systemd, with load and two instances",
        "deploy/test_restarts.py::test_restarts_by_the_systemd_unit_lose_no_request",
        "deploy/test_systemd.py",
        note="without systemd as process 1: the test does what the unit says, and `systemd-analyze`"
        " accepts it; `MemoryMax` and the sandboxing are not tested",
    ),
    row(
        83,
        "Rotation of secrets with load and two instances",
        "deploy/test_rotation.py",
        "deploy/test_nginx.py::test_certificate_is_replaced_without_a_failed_request",
        "identity/test_tokens.py",
        note="thirteen secrets and the certificate; not those of the push and mail services",
    ),
    row(84, "The console and the doctor through nginx with TLS", "deploy/test_nginx_server.py"),
)

APART = ("deploy/", "sandbox/", "test_outage.py", "features/billing/test_webhook_chaos.py")
"""What the paths of tests begin with that run after the others, one at a time."""


@define(eq=False)  # pytest hashes its plugins
class Recorder:
    """pytest plugin: the outcome of each test by its node id, below `tests/`."""

    outcomes: dict[str, str] = field(factory=dict[str, str])
    seconds: dict[str, float] = field(factory=lambda: defaultdict[str, float](float))

    def pytest_runtest_logreport(self, report: Any) -> None:
        # xdist appends the group of a test: `test_one@deploy`.
        name = re.sub(r"@[\w-]+$", "", report.nodeid.removeprefix("tests/"))
        self.seconds[name] += report.duration
        if report.failed or (report.skipped and self.outcomes.get(name) != "failed"):
            self.outcomes[name] = report.outcome
        elif report.when == "call":
            self.outcomes.setdefault(name, report.outcome)

    def of(self, test: str) -> list[str]:
        """The node ids of a file, a class or a test with its parameters."""
        return [name for name in self.outcomes if belongs(name, test)]


def belongs(name: str, test: str) -> bool:
    return name == test or name.startswith((f"{test}::", f"{test}["))


@frozen
class Result:
    row: Row
    state: State
    detail: str

    @property
    def text(self) -> str:
        """The result on the page."""
        return f"{self.state}: {self.detail}" if self.row.tests and self.detail else self.state


def results(rows: Iterable[Row], recorder: Recorder) -> list[Result]:
    return [_result(row, recorder) for row in rows]


def _result(row: Row, recorder: Recorder) -> Result:
    if not row.tests:
        return Result(row, "by command", row.note)
    names = {name for test in row.tests for name in recorder.of(test)}
    absent = [test for test in row.tests if not recorder.of(test)]
    counts = {
        outcome: sum(recorder.outcomes[name] == outcome for name in names)
        for outcome in ("passed", "failed", "skipped")
    }
    state: State = "passed"
    if counts["failed"] or absent:
        state = "failed"
    elif counts["skipped"]:
        state = "skipped"
    seconds = sum(recorder.seconds[name] for name in names)
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    parts += [f"not found: {test}" for test in absent]
    return Result(row, state, f"{', '.join(parts)}; {seconds:.1f} s")


def as_table(found: Sequence[Result]) -> list[str]:
    return [
        f"{one.row.number:>3}  {one.state:<10}  {one.row.check}  ({one.detail})" for one in found
    ]


def results_on(page: str) -> dict[int, str]:
    """The results of a page by the number of the row."""
    return {int(number): result for number, result in RESULT.findall(page)}


def as_page(found: Sequence[Result], page: str = "") -> str:
    """docs/matrix.md; `page` is the present one, whose results other rows keep."""
    known = results_on(page) | {one.row.number: one.text for one in found}
    texts = [known.get(row.number, "not run") for row in ROWS]
    states = [text.partition(":")[0] for text in texts]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    lines = [
        "# Test matrix",
        "",
        "The checks of a deployment, and the tests that verify them. `make matrix` runs all rows",
        "and writes this page; `python -m tests.matrix --row N --write docs/matrix.md` runs one",
        "row and replaces its result.",
        "",
        f"Result: {counts}.",
        "",
        "| # | check | result | tests |",
        "|---|---|---|---|",
    ]
    for row, text in zip(ROWS, texts, strict=True):
        tests = ", ".join(f"`{test}`" for test in row.tests)
        about = "; ".join(part for part in (tests, row.note) if part)
        lines.append(f"| {row.number} | {row.check} | {text} | {about} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--row", "numbers", type=int, multiple=True, help="Only this row; may be repeated.")
@click.option("--write", type=click.Path(path_type=Path), help="Write the page with the results.")
@click.option("-n", "workers", type=int, default=1, help="Workers of xdist, for the first part.")
def main(numbers: tuple[int, ...], write: Path | None, workers: int) -> None:
    """Run the rows of the test matrix."""
    rows = [row for row in ROWS if not numbers or row.number in numbers]
    tests = list(dict.fromkeys(test for row in rows for test in row.tests))
    apart = [test for test in tests if test.startswith(APART)]
    recorder = Recorder()
    for part, count in (([x for x in tests if x not in apart], workers), (apart, 1)):
        if part:
            # In a worker, since a test that hangs ends its process (faulthandler_timeout).
            parallel = ["-n", str(count), "--dist", "loadgroup"]
            paths = [f"tests/{test}" for test in part]
            pytest.main(["-q", "--no-header", *parallel, *paths], plugins=[recorder])
    found = results(rows, recorder)
    click.echo("\n".join(as_table(found)))
    if write is not None:
        write.write_text(as_page(found, write.read_text() if write.exists() else ""))
    sys.exit(1 if any(one.state == "failed" for one in found) else 0)


if __name__ == "__main__":
    main()
