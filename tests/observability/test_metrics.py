"""Metrics: the names that dashboards rely on, bounded labels, one registry a server."""

from __future__ import annotations

import platform
import re

from prometheus_client.parser import text_string_to_metric_families

from cookcam.observability.metrics import CONTENT_TYPE, OTHER, Family, Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_every_metric_of_the_specification_has_its_name_and_labels() -> None:
    metrics = Metrics()
    # The library adds the time of creation to a histogram without labels.
    declared = {
        name: kind
        for name, kind in re.findall(r"# TYPE (\w+) (\w+)", metrics.render().decode())
        if not name.endswith("_created")
    }
    assert declared == {
        "http_requests_total": "counter",
        "http_request_duration_seconds": "histogram",
        "http_requests_in_flight": "gauge",
        "connections_open": "gauge",
        "connection_errors_total": "counter",
        "connections_refused_total": "counter",
        "http_requests_queued": "gauge",
        "http_requests_refused_total": "counter",
        "ws_connections": "gauge",
        "ws_connects_total": "counter",
        "ws_auth_failures_total": "counter",
        "ws_messages_total": "counter",
        "ws_outbox_overflow_total": "counter",
        "db_pool_in_use": "gauge",
        "db_pool_size": "gauge",
        "error_reports_total": "counter",
        "db_pool_max": "gauge",
        "db_wait_seconds": "histogram",
        "db_query_duration_seconds": "histogram",
        "queue_entries": "gauge",
        "bus_connected": "gauge",
        "bus_messages_total": "counter",
        "ws_outbox_messages": "gauge",
        "errors_total": "counter",
        "security_events_total": "counter",
        "security_event_rows_total": "counter",
        "failed_sign_in_accounts": "gauge",
        "failed_sign_in_accounts_of_an_address": "gauge",
        "redacted_values_total": "counter",
        "loop_lag_seconds": "histogram",
        "startup_seconds": "gauge",
        "previous_runs_total": "counter",
        "previous_run": "gauge",
        "provider_requests_total": "counter",
        "analytics_events_total": "counter",
        "provider_duration_seconds": "histogram",
        "provider_circuit_open": "gauge",
        "rate_limited_total": "counter",
        "rate_limit_fallbacks_total": "counter",
        "rate_limits_shared": "gauge",
        "trace_spans_total": "counter",
        "tasks_running": "gauge",
        "task_restarts_total": "counter",
        "drain_seconds": "gauge",
        "drain_cut_total": "counter",
        "stripe_webhooks_total": "counter",
        "stripe_webhook_duration_seconds": "histogram",
        "model_requests_total": "counter",
        "model_request_seconds": "histogram",
        "model_tokens_total": "counter",
        "model_cost_microdollars_total": "counter",
        "backup_last_completed_timestamp": "gauge",
        "backup_period_seconds": "gauge",
        "reconciliation_last_run_timestamp": "gauge",
        "reconciliation_last_run_checked": "gauge",
        "reconciliation_last_run_drift": "gauge",
        "reconciliation_last_run_errors": "gauge",
        "reconciliation_last_run_duration_seconds": "gauge",
        "reconciliation_last_run_cut_short": "gauge",
        "charge_reversals_total": "counter",
        "cache_requests_total": "counter",
        "generations_total": "counter",
        "iap_validations_total": "counter",
        "push_notifications_total": "counter",
        "push_receipts_total": "counter",
        "notification_repeats_total": "counter",
        "build_info": "gauge",
        "process_virtual_memory_bytes": "gauge",
        "process_resident_memory_bytes": "gauge",
        "process_start_time_seconds": "gauge",
        "process_cpu_seconds_total": "counter",
        "process_open_fds": "gauge",
        "process_max_fds": "gauge",
    }
    assert CONTENT_TYPE.startswith("text/plain")


def test_process_and_build_are_described() -> None:
    metrics = Metrics()
    metrics.describe_build("cookcam-api@0123abc", "2.0.0")
    build = {"release": "cookcam-api@0123abc", "version": "2.0.0"}
    found = samples(metrics)
    key = ("build_info", frozenset({**build, "python": platform.python_version()}.items()))
    assert found[key] == 1
    assert found["process_resident_memory_bytes", frozenset()] > 1_000_000
    assert found["process_open_fds", frozenset()] > 0


def test_an_answer_is_counted_and_timed_by_route_method_and_status() -> None:
    metrics = Metrics()
    metrics.record_response("/recipes/<id>", "GET", 200, 0.15)
    metrics.record_response("/recipes/<id>", "GET", 200, 0.7)
    metrics.record_response(None, "BREW", 404, 0.001)
    labels = {"route": "/recipes/<id>", "method": "GET", "status": "200"}
    seen = samples(metrics)
    assert seen["http_requests_total", frozenset(labels.items())] == 2
    for bound, count in (("0.1", 0.0), ("0.2", 1.0), ("0.5", 1.0), ("1.0", 2.0)):
        key = frozenset({**labels, "le": bound}.items())
        assert seen["http_request_duration_seconds_bucket", key] == count
    unmatched = {"route": "unmatched", "method": OTHER, "status": "404"}
    assert seen["http_requests_total", frozenset(unmatched.items())] == 1


def test_labels_that_clients_choose_are_bounded() -> None:
    metrics = Metrics()
    messages = metrics.ws_messages_total
    messages.bound = 3
    for number in range(10):
        messages.of("socket.io", f"event{number}").inc()
    messages.of("socket.io", "event0").inc()
    seen = {
        dict(k[1])["event"]: v for k, v in samples(metrics).items() if k[0] == "ws_messages_total"
    }
    assert seen == {"event0": 2, "event1": 1, "event2": 1, OTHER: 7}


def test_a_family_gives_the_same_child_for_the_same_labels() -> None:
    family = Metrics().tasks_running
    assert isinstance(family, Family)
    assert family.of("sweep") is family.of("sweep")


def test_the_pool_is_read_when_the_metrics_are() -> None:
    metrics = Metrics()
    in_use = 0
    metrics.watch_pool(lambda: in_use, lambda: 5)
    assert samples(metrics)["db_pool_in_use", frozenset()] == 0
    in_use = 3
    assert samples(metrics)["db_pool_in_use", frozenset()] == 3
    assert samples(metrics)["db_pool_size", frozenset()] == 5


def test_two_servers_in_one_process_do_not_add_up() -> None:
    one, other = Metrics(), Metrics()
    one.record_response("/", "GET", 200, 0.1)
    assert not any(name == "http_requests_total" for name, _ in samples(other))
