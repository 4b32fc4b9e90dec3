"""`cookcam check-env --connect` against a whole sandbox, and against services that fail."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cookcam.cli.connection_checks import CHECKS
from tests.support.commands import run
from tests.support.redis import redis_server
from tests.support.sandbox_process import SandboxProcess

pytestmark = pytest.mark.xdist_group("deploy")

SECRET = "s3cr3tpart"


def connections(folder: Path, settings: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and what became of each service."""
    done = run("check-env", "--connect", "--json", cwd=folder, env=settings)
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    for value in settings.values():
        assert len(value) < 12 or value not in json.dumps(report["connections"])
    return done.returncode, {tried["service"]: tried for tried in report["connections"]}


async def test_every_service_of_the_sandbox_is_ok(tmp_path: Path, sandbox: SandboxProcess) -> None:
    with redis_server() as redis:
        await redis.start()
        settings = {**sandbox.settings, "REDIS_URL": redis.url}
        status, found = connections(tmp_path, settings)
    assert {name: tried["state"] for name, tried in found.items()} == dict.fromkeys(CHECKS, "ok")
    assert status == 0
    assert "schema is up to date" in found["database"]["detail"]


def test_text_report_has_one_line_per_service(tmp_path: Path, sandbox: SandboxProcess) -> None:
    done = run("check-env", "--connect", cwd=tmp_path, env=sandbox.settings)
    lines = done.stdout.rpartition("\n\n")[2].splitlines()
    assert [line[9:39].strip() for line in lines] == [*CHECKS]
    assert done.stderr == ""


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_rejected_keys_and_unreachable_services_are_named(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    settings = {
        **sandbox.settings,
        "SUPABASE_ANON_KEY": f"{SECRET}-anon",
        "SUPABASE_SERVICE_ROLE_KEY": f"{SECRET}-service",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",  # the sandbox's takes any key
        "USDA_API_KEY": f"{SECRET}-usda",
        "STRIPE_SECRET_KEY": f"sk_test_{SECRET}",
        "STRIPE_API_BASE": "http://127.0.0.1:9",  # nor does that for Stripe refuse a test key
        "DATABASE_URL": f"postgresql://nobody:{SECRET}@127.0.0.1:9/nowhere",
        "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:9/0",
        "APNS_KEY_ID": "",
        "APNS_TEAM_ID": "",
        "APNS_PRIVATE_KEY": "",
    }
    status, found = connections(tmp_path, settings)
    assert status == 1
    assert SECRET not in json.dumps(found)
    for service in ("supabase storage", "usda"):
        assert found[service]["detail"] == "our key is refused", service
    assert found["openai"]["detail"] == "does not answer"
    assert found["stripe"]["detail"] == "does not answer"
    assert found["database"]["detail"] == "does not answer"
    assert found["redis"]["detail"] == "does not answer"
    assert found["push to ios (apns)"]["state"] == "not set"


def test_services_that_do_not_respond_time_out_together(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    with silent_port() as port:
        address = f"http://127.0.0.1:{port}"
        settings = {
            **sandbox.settings,
            "SUPABASE_URL": address,
            "OPENAI_BASE_URL": f"{address}/v1",
            "STRIPE_API_BASE": address,
            "FCM_API_URL": address,
            "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{port}/nowhere",
        }
        began = time.monotonic()
        status, found = connections(tmp_path, settings)
    assert status == 1
    assert time.monotonic() - began < 60  # one after the other they would take twice as long
    for service in ("database", "supabase auth", "supabase storage", "openai", "stripe"):
        assert found[service]["state"] == "failed", service


def test_pending_migrations_and_missing_roles_fail(
    tmp_path: Path, sandbox: SandboxProcess, empty_database_url: str
) -> None:
    _, found = connections(tmp_path, {**sandbox.settings, "DATABASE_URL": empty_database_url})
    assert found["database"]["state"] == "failed"
    assert "may not act as" in found["database"]["detail"] or (
        "pending migrations" in found["database"]["detail"]
    )
    url = sandbox.settings["DATABASE_URL"]
    _, found = connections(tmp_path, {**sandbox.settings, "MIGRATION_DATABASE_URL": url})
    assert found["database for migrations"]["detail"] == "logged in, but may not create schemas"


def test_no_connection_is_tried_with_invalid_settings(
    tmp_path: Path, sandbox: SandboxProcess
) -> None:
    settings = {**sandbox.settings, "PORT": "x"}
    done = run("check-env", "--connect", "--json", cwd=tmp_path, env=settings)
    assert done.returncode == 1
    assert "connections" not in json.loads(done.stdout)
    assert done.stderr == "nothing was connected to: correct the settings first\n"
