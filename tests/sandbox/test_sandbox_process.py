"""`cookcam sandbox` as a process: what it writes, how it stops, what it survives."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from attrs import define
from dotenv import dotenv_values

from cookcam.config import load
from tests.support.commands import run, start

pytestmark = pytest.mark.xdist_group("sandbox-process")


@define
class Running:
    """A sandbox that is ready."""

    process: subprocess.Popen[str]
    home: Path
    about: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        values = dotenv_values(self.home / "sandbox.env", interpolate=False)
        return {name: value or "" for name, value in values.items()}

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """What the owner of the database gets."""
        with psycopg.connect(self.about["database_url"], autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode

    def postgres_runs(self) -> bool:
        return (Path(self.about["postgres"]["data"]) / "postmaster.pid").exists()


def start_sandbox(home: Path, *arguments: str, **options: Any) -> Running:
    """Starts one and waits until it says that it is ready."""
    process = start(
        "sandbox", "--home", str(home), "--port", "0", *arguments, cwd=home.parent, **options
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        file = home / "sandbox.json"
        if file.exists() and (about := json.loads(file.read_text()))["pid"] == process.pid:
            return Running(process, home, about)
        time.sleep(0.02)
    process.kill()
    raise AssertionError("not ready within 30 s")


@pytest.fixture(scope="module")
def started(home: Path) -> Iterator[list[Running]]:
    """The sandboxes of this module, the last one perhaps still running."""
    all_of_them: list[Running] = []
    yield all_of_them
    for running in all_of_them:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture
def sandbox(home: Path, started: list[Running]) -> Running:
    """A running sandbox, which a test may stop: the next one gets it started again."""
    if not started or started[-1].process.poll() is not None:
        started.append(start_sandbox(home))
    return started[-1]


def test_it_writes_what_a_server_needs(sandbox: Running):
    config = load(sandbox.env)
    assert config.environment == "development"
    assert config.database.url.reveal().startswith("postgresql://cookcam_app@/cookcam?host=")
    assert sandbox.about["base_url"] == f"http://127.0.0.1:{config.server.port}"
    assert sandbox.about["supabase_url"] == config.identity.supabase_url
    assert sandbox.about["env_file"] == str(sandbox.home / "sandbox.env")
    for name in ("sandbox.env", "sandbox.json", "auth-key.pem"):
        assert (sandbox.home / name).stat().st_mode & 0o777 == 0o600
    checked = run("check-env", "--env-file", sandbox.about["env_file"], cwd=sandbox.home)
    assert checked.returncode == 0


def test_its_database_is_migrated_and_bound_by_row_level_security(sandbox: Running):
    checked = run("migrate", "--check", "--env-file", sandbox.about["env_file"], cwd=sandbox.home)
    assert (checked.returncode, checked.stdout) == (0, "the schema is up to date\n")
    with psycopg.connect(sandbox.env["DATABASE_URL"], autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from public.users")
        connection.execute("set role anon")
        (shown,) = connection.execute("select count(*) from public.recipes").fetchone() or (0,)
    assert sandbox.execute("select count(*) from public.recipes where is_published") == [(shown,)]


def test_demo_users_can_log_in_and_own_recipes(sandbox: Running):
    headers = {"apikey": sandbox.env["SUPABASE_ANON_KEY"]}
    roles: list[str | None] = []
    with httpx.Client(base_url=sandbox.about["supabase_url"], headers=headers) as http:
        for person in sandbox.about["demo_users"]:
            response = http.post(
                "/auth/v1/token?grant_type=password",
                json={"email": person["email"], "password": person["password"]},
            )
            assert response.status_code == 200
            roles.append(response.json()["user"]["app_metadata"].get("role"))
    assert roles == [None, None, "admin"]
    assert sandbox.execute(
        "select count(*), count(created_by), count(*) filter (where not is_published)"
        " from public.recipes"
    ) == [(12, 12, 1)]
    assert sandbox.execute(
        "select count(*) > 40, count(ingredient_id) > 35 from public.recipe_ingredients"
    ) == [(True, True)]


def test_one_home_has_one_sandbox(sandbox: Running):
    second = run("sandbox", "--home", str(sandbox.home), cwd=sandbox.home)
    assert second.returncode == 1
    assert second.stderr == (
        f"a sandbox already runs in {sandbox.home}: stop it, or choose another --home\n"
    )
    assert sandbox.process.poll() is None
    assert (sandbox.home / "sandbox.json").exists()


def test_a_signal_stops_it_and_the_database(sandbox: Running):
    assert sandbox.postgres_runs()
    assert sandbox.stop(signal.SIGTERM) == 0
    assert not sandbox.postgres_runs()
    assert not (sandbox.home / "sandbox.json").exists()
    assert (sandbox.home / "sandbox.env").exists()


def test_an_impatient_second_signal_leaves_no_database_behind(sandbox: Running):
    sandbox.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    sandbox.stop(signal.SIGINT)
    assert not sandbox.postgres_runs()


def test_data_keys_and_deletions_outlive_a_restart(sandbox: Running, started: list[Running]):
    sandbox.execute("delete from public.recipes where title = 'Milk rice with butter crumbs'")
    sandbox.execute("delete from auth.users where email = 'ben@cookcam.example'")
    old = sandbox.env
    assert sandbox.stop() == 0
    again = start_sandbox(sandbox.home)
    started.append(again)
    response = httpx.get(
        f"{again.about['supabase_url']}/auth/v1/health",
        headers={"apikey": old["SUPABASE_ANON_KEY"]},
    )
    assert response.status_code == 200
    titles = [title for (title,) in again.execute("select title from public.recipes")]
    assert "Carrot butter rice" in titles
    assert "Milk rice with butter crumbs" not in titles
    # A demo person is always there; what was hers is not made again.
    assert again.execute(
        "select count(*) from public.recipes r join public.users u on u.id = r.created_by"
        " where u.email = 'ben@cookcam.example'"
    ) == [(0,)]
    assert again.execute("select count(*) from auth.users where email = 'ben@cookcam.example'") == [
        (1,)
    ]


def test_a_killed_run_is_taken_over(sandbox: Running):
    sandbox.process.kill()
    sandbox.process.communicate()
    assert sandbox.postgres_runs()
    again = start_sandbox(sandbox.home)
    assert again.execute("select count(*) > 0 from public.recipes") == [(True,)]
    assert again.stop() == 0
    assert not again.postgres_runs()


def test_it_ends_with_the_process_it_is_attached_to(home: Path, started: list[Running]):
    for running in started:
        if running.process.poll() is None:
            running.stop()
    attached = start_sandbox(home, "--attached", stdin=subprocess.PIPE)
    assert attached.process.stdin is not None
    attached.process.stdin.close()
    assert attached.process.wait(timeout=20) == 0
    assert not attached.postgres_runs()


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    failed = run("sandbox", "--home", str(tmp_path / "file" / "home"), cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr == f"{tmp_path}/file/home cannot be used: Not a directory\n"
