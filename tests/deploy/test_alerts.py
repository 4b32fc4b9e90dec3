"""The alert rules and the dashboard: every rule fires when it should, on metrics that exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from cookcam.observability.metrics import Metrics
from tests.support.external import require_program

ROOT = Path(__file__).parents[2]
RULES, DASHBOARD = ROOT / "deploy/alerts.yml", ROOT / "deploy/grafana-dashboard.json"
RUNBOOKS = ROOT / "docs/runbooks.md"

HOURS = 60  # samples of an hour: one a minute
EVALUATION_INTERVALS = {"5m": range(HOURS + 1), "1h": range(HOURS + 1, 100 * HOURS)}
"""How often the rules are evaluated in cases of so many minutes: every 5 minutes for days takes 6 s
of processor time."""
INSTANCE = 'instance="one",job="cookcam"'


@frozen
class Case:
    """Series, one sample a minute, with which a rule fires, and with which it is silent."""

    fires: Mapping[str, str]
    silent: Mapping[str, str]
    minutes: int = 30


def both(series: Mapping[str, tuple[str, str]], minutes: int = 30) -> Case:
    return Case(
        {name: values[0] for name, values in series.items()},
        {name: values[1] for name, values in series.items()},
        minutes,
    )


def quantile(name: str, labels: str, slow: str, fast: str) -> Case:
    """A histogram whose observations are all above `fast` seconds, or none of them."""
    text = "{" + (labels + "," if labels else "")
    bounds = (f'{name}_bucket{text}le="{fast}"}}', f'{name}_bucket{text}le="{slow}"}}')
    infinity = f'{name}_bucket{text}le="+Inf"}}'
    return both(
        {
            bounds[0]: ("0x30", "0+60x30"),
            bounds[1]: ("0+60x30", "0+60x30"),
            infinity: ("0+60x30", "0+60x30"),
        }
    )


def share(name: str, good: str, bad: str, percent: float) -> Case:
    """A counter of which more, or less, than `percent` have the bad label."""
    return both(
        {
            f"{name}{{{good}}}": ("0+1000x30", "0+1000x30"),
            f"{name}{{{bad}}}": (f"0+{percent * 11:g}x30", f"0+{percent * 9:g}x30"),
        }
    )


REQUEST = 'route="/api/v1/recipes",method="GET"'
HTTP = "http_request_duration_seconds"

CASES: Mapping[str, Case] = {
    "InstanceDown": both({f"up{{{INSTANCE}}}": ("0x30", "1x30")}),
    "ErrorRateHigh": share("http_requests_total", 'status="200"', 'status="503"', 0.5),
    "ErrorRateCritical": share("http_requests_total", 'status="200"', 'status="500"', 1.05),
    "ResponsesSlow": quantile(HTTP, REQUEST, "1.0", "0.5"),
    "ResponsesVerySlow": quantile(HTTP, REQUEST, "2.0", "1.0"),
    "RequestsRefusedUnderLoad": both(
        {'http_requests_refused_total{queue="requests"}': ("0+120x30", "0+30x30")}
    ),
    "EventLoopLags": quantile("loop_lag_seconds", INSTANCE, "0.25", "0.1"),
    "MemoryHigh": both(
        {f"process_resident_memory_bytes{{{INSTANCE}}}": ("900000000x30", "300000000x30")}
    ),
    "FilesRunningOut": both(
        {
            f"process_open_fds{{{INSTANCE}}}": ("900x30", "100x30"),
            f"process_max_fds{{{INSTANCE}}}": ("1024x30", "1024x30"),
        }
    ),
    "RunCrashed": both({'previous_runs_total{outcome="crashed"}': ("2x15 3x15", "2x30")}),
    "ShutdownCutWork": both({'previous_runs_total{outcome="cut"}': ("0x15 1x15", "0x30")}),
    "RestartsOften": both(
        {f"process_start_time_seconds{{{INSTANCE}}}": ("1 2 3 4 5 5x25", "1x10 2x20")}
    ),
    "StartSlow": both({"startup_seconds": ("9x30", "2x30")}),
    "TaskFailsRepeatedly": both({'task_restarts_total{task="retention"}': ("0+1x30", "1x30")}),
    "PoolNearlyExhausted": both(
        {
            f"db_pool_in_use{{{INSTANCE}}}": ("18x30", "10x30"),
            f"db_pool_max{{{INSTANCE}}}": ("20x30", "20x30"),
        }
    ),
    "PoolWaitsLong": quantile("db_wait_seconds", "", "1.0", "0.5"),
    "QueriesSlow": quantile("db_query_duration_seconds", 'operation="read"', "0.25", "0.1"),
    "QueriesVerySlow": quantile("db_query_duration_seconds", 'operation="read"', "1.0", "0.5"),
    "DatabaseErrors": both({'errors_total{code="DATABASE_ERROR"}': ("0+3x30", "1x30")}),
    "WebhooksOverdue": both(
        {'queue_entries{queue="stripe_webhooks",state="overdue"}': ("3x30", "0x30")}
    ),
    "WebhooksGivenUp": both(
        {'queue_entries{queue="store_webhooks",state="dead"}': ("1x30", "0x30")}
    ),
    "WebhooksFail": share("stripe_webhooks_total", 'outcome="processed"', 'outcome="failed"', 5.3),
    "PurchasesNotValidated": share(
        "iap_validations_total",
        'platform="ios",outcome="valid"',
        'platform="ios",outcome="error"',
        5.3,
    ),
    "ReconciliationOverdue": Case(
        {
            "reconciliation_last_run_timestamp": "0x1620",
            f"process_start_time_seconds{{{INSTANCE}}}": "0x1620",
        },
        {
            "reconciliation_last_run_timestamp": "36000x1620",
            f"process_start_time_seconds{{{INSTANCE}}}": "0x1620",
        },
        27 * HOURS,
    ),
    "BackupOverdue": both(
        {
            "backup_period_seconds": ("86400x2400", "0x2400"),
            "backup_last_completed_timestamp": ("0x2400", "0x2400"),
        },
        40 * HOURS,
    ),
    "SubscriptionsDrift": both(
        {
            "reconciliation_last_run_drift": ("60x30", "40x30"),
            "reconciliation_last_run_checked": ("1000x30", "1000x30"),
        }
    ),
    "ProviderDown": both({'provider_circuit_open{provider="stripe"}': ("1x30", "0x30")}),
    "ProviderSlow": quantile("provider_duration_seconds", 'provider="stripe"', "10.0", "5.0"),
    "ModelSlow": quantile("model_request_seconds", 'model="m"', "60.0", "30.0"),
    "ModelCostHigh": both({"model_cost_microdollars_total": ("0+3000000x30", "0+100000x30")}),
    "SocketsRefused": both(
        {
            'ws_auth_failures_total{protocol="socket.io"}': ("0+60x30", "0+1x30"),
            'ws_connects_total{protocol="socket.io"}': ("0+600x30", "0+600x30"),
        }
    ),
    "SlowSocketsClosed": both({'ws_outbox_overflow_total{protocol="plain"}': ("0+5x30", "0x30")}),
    "BusDisconnected": both({"bus_connected": ("0x30", "1x30")}),
    "SignInsProbed": both({'security_events_total{type="auth_failure"}': ("0+600x30", "0+30x30")}),
    "PasswordSpraying": both(
        {
            f"failed_sign_in_accounts_of_an_address{{{INSTANCE}}}": ("3x30", "9x30"),
            f"failed_sign_in_accounts{{{INSTANCE}}}": ("60x30", "30x30"),
            'failed_sign_in_accounts{instance="two",job="cookcam"}': ("60x30", "30x30"),
        }
    ),
    "LimitsHit": both({'security_events_total{type="rate_limit"}': ("0+600x30", "0+30x30")}),
    "UnclassifiedErrors": both({'errors_total{code="INTERNAL_ERROR"}': ("0+3x30", "3x30")}),
    "ErrorReportsLost": both({'error_reports_total{outcome="dropped"}': ("0+1x30", "0x30")}),
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_fires_in_its_case_and_only_there(tmp_path: Path) -> None:
    """promtool evaluates the rules over series of this test's own."""
    promtool = require_program("promtool")
    assert {rule["alert"] for rule in rules()} == CASES.keys()
    files: list[str] = []
    for interval, lengths in EVALUATION_INTERVALS.items():
        tests = [
            {
                "name": f"{alert} {'fires' if fires else 'is silent'}",
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                        "eval_time": f"{case.minutes}m",
                        "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                    }
                ],
            }
            for alert, case in CASES.items()
            if case.minutes in lengths
            for fires, series in ((True, case.fires), (False, case.silent))
        ]
        file = tmp_path / f"alerts_test_{interval}.yml"
        document = {"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": tests}
        file.write_text(yaml.safe_dump(document))
        files.append(str(file))
    result = subprocess.run(
        [promtool, "test", "rules", *files],
        env={**os.environ, "GOGC": "400"},  # a third of the time is its garbage collector's
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_names_a_severity_and_a_section_of_the_runbooks() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor in anchors) == ("docs/runbooks.md", True), rule["alert"]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_every_metric_of_dashboard_and_alerts_exists() -> None:
    metrics = Metrics()
    kinds = dict(re.findall(r"# TYPE (\w+) (\w+)", metrics.render().decode()))
    existing = {"up"}
    for name, kind in kinds.items():
        existing |= (
            {name + end for end in ("_bucket", "_count", "_sum")}
            if (kind == "histogram")
            else {name}
        )
    used: set[str] = set()
    for expression in expressions():
        bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without)\s*\([^)]*\)", " ", expression)
        used |= set(re.findall(r"\b[a-z_]+_[a-z_]+\b(?!\s*\()", bare))
    assert used - existing == set()
    assert len(used) > 40
