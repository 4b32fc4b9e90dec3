"""The command line: one line per mistake, exit statuses, and nothing loaded before its time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cookcam import __version__
from cookcam.cli import main
from cookcam.config import described
from tests.support.commands import clean_environment, run
from tests.support.environments import DEVELOPMENT, GOOGLE_KEY, SECRETS, STAGING

Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs a command in this process, with only the given settings, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in {*os.environ} - {"PATH", "HOME"}:
        monkeypatch.delenv(name)

    def call(*arguments: str, **settings: str) -> Result:
        return CliRunner().invoke(main, arguments, env=settings, catch_exceptions=False)

    return call


def lines(result: Result) -> list[str]:
    return result.stderr.splitlines()


def without(environ: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in names}


def test_serve_without_a_key_names_it_and_exits_1(tmp_path: Path):
    done = run("serve", cwd=tmp_path, env=without(DEVELOPMENT, "OPENAI_API_KEY"))
    assert done.returncode == 1
    assert done.stderr == "OPENAI_API_KEY is required (https://platform.openai.com/api-keys)\n"
    assert done.stdout == ""


def test_serve_with_three_mistakes_gives_three_lines(cli: Cli):
    result = cli("serve", **{**without(DEVELOPMENT, "SUPABASE_URL"), "PORT": "x", "LOG_LEVEL": "y"})
    assert result.exit_code == 1
    assert {line.split()[0] for line in lines(result)} == {"SUPABASE_URL", "PORT", "LOG_LEVEL"}
    assert len(lines(result)) == 3


def test_mistakes_are_reported_before_the_server_is_imported(tmp_path: Path):
    program = (
        "import sys\n"
        "from cookcam.cli import main\n"
        "try: main(['serve'])\n"
        "except SystemExit as exit: print(exit.code)\n"
        "print(*{'trio', 'quart', 'hypercorn', 'psycopg', 'supabase', 'httpx'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1"]


def test_a_missing_env_file_is_one_line(cli: Cli):
    for command in ("serve", "check-env", "migrate"):
        result = cli(command, "--env-file", "absent.env")
        assert result.exit_code == 1
        assert lines(result) == ["--env-file names no readable file: absent.env"]


def test_the_environment_wins_over_the_env_file(cli: Cli):
    Path("my.env").write_text("".join(f"{name}={value}\n" for name, value in DEVELOPMENT.items()))
    assert cli("check-env", "--env-file", "my.env").exit_code == 0
    assert cli("check-env", "--env-file", "my.env", SUPABASE_URL="nonsense").exit_code == 1


def test_check_env_lists_every_setting_and_shows_no_value(cli: Cli):
    result = cli("check-env", **DEVELOPMENT)
    assert result.exit_code == 0
    states = {line.split()[-1]: line for line in result.stdout.splitlines()}
    assert len(states) >= 1
    for setting in described():
        assert setting.name in result.stdout
    for name in SECRETS:
        assert DEVELOPMENT.get(name, "anything not given") not in result.stdout
    assert "missing" not in result.stdout


def test_check_env_distinguishes_missing_from_invalid(cli: Cli):
    environ = {**without(STAGING, "SENTRY_DSN"), "JWT_SECRET": "short", "DEMO_MODE": "true"}
    result = cli("check-env", **environ)
    assert result.exit_code == 1
    settings = result.stdout.partition("\n\n")[0].splitlines()
    found = {line[9:].split()[0]: line[:8].strip() for line in settings}
    assert found["SENTRY_DSN"] == "missing"
    assert found["JWT_SECRET"] == "invalid"
    assert found["DATABASE_URL"] == "set"
    assert found["INTERNAL_API_KEY"] == "not set"
    assert "JWT_SECRET must have at least 32 characters" in result.stdout
    assert "without effect: DEMO_MODE" in result.stdout
    assert "short" not in result.stdout.replace("shortly", "")


def test_check_env_as_json(cli: Cli):
    good = json.loads(cli("check-env", "--json", **STAGING).stdout)
    assert good["ok"] is True
    assert good["mistakes"] == []
    result = cli("check-env", "--json", **without(STAGING, "SENTRY_DSN"))
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert [mistake["variable"] for mistake in report["mistakes"]] == ["SENTRY_DSN"]
    states = {found["variable"]: found["state"] for found in report["findings"]}
    assert set(states) == {setting.name for setting in described()}
    assert states["SENTRY_DSN"] == "missing"
    for name in SECRETS:
        assert STAGING.get(name, "anything not given") not in result.stdout


def test_an_alias_counts_as_set(cli: Cli):
    environ = without(DEVELOPMENT, "SUPABASE_SERVICE_ROLE_KEY")
    result = cli("check-env", "--json", SUPABASE_SERVICE_KEY="older", **environ)
    states = {f["variable"]: f["state"] for f in json.loads(result.stdout)["findings"]}
    assert states["SUPABASE_SERVICE_ROLE_KEY"] == "set"


@pytest.mark.parametrize(
    ("content", "state"), [(GOOGLE_KEY, "set"), ("{", "invalid"), (None, "invalid")]
)
def test_check_env_reads_the_key_file_of_google(cli: Cli, content: str | None, state: str):
    environ = without(STAGING, "GOOGLE_SERVICE_ACCOUNT_KEY")
    environ["GOOGLE_SERVICE_ACCOUNT_KEY_FILE"] = "play.json"
    if content is not None:
        Path("play.json").write_text(content)
    report = json.loads(cli("check-env", "--json", **environ).stdout)
    states = {f["variable"]: f["state"] for f in report["findings"]}
    assert states["GOOGLE_SERVICE_ACCOUNT_KEY"] == state
    assert len(report["mistakes"]) == (state == "invalid")


def test_migrate_applies_pending_migrations_and_lists_them(cli: Cli, empty_database_url: str):
    only = {"DATABASE_URL": empty_database_url}
    pending = cli("migrate", "--check", **only)
    assert pending.exit_code == 1
    assert pending.stdout.startswith("pending ")
    applied = cli("migrate", **only)
    assert applied.exit_code == 0
    assert applied.stdout == pending.stdout.replace("pending", "applied")
    again = cli("migrate", "--check", **only)
    assert (again.exit_code, again.stdout) == (0, "the schema is up to date\n")


def test_migrate_prefers_the_login_that_owns_the_schema(cli: Cli, empty_database_url: str):
    result = cli(
        "migrate",
        DATABASE_URL="postgresql://nobody@/nowhere?host=/nowhere",
        MIGRATION_DATABASE_URL=empty_database_url,
    )
    assert result.exit_code == 0


def test_migrate_fails_in_one_line(cli: Cli):
    assert lines(cli("migrate"))[0].startswith("DATABASE_URL is required")
    result = cli("migrate", DATABASE_URL="postgresql://nobody@/nowhere?host=/nowhere")
    assert result.exit_code == 1
    (line,) = lines(result)
    assert "/nowhere" in line


@pytest.mark.parametrize("name", ["APP_ENV", "NODE_ENV"])
@pytest.mark.parametrize("value", ["staging", "production"])
def test_dev_exits_in_staging_and_production(cli: Cli, name: str, value: str):
    result = cli("dev", "--home", "home", **{name: value})
    assert result.exit_code == 1
    assert lines(result) == [
        "cookcam dev is for development: it refuses to run in staging or production"
    ]
    assert not Path("home").exists()


def test_help_lists_version_and_commands(cli: Cli):
    assert cli("--version").stdout == f"cookcam, version {__version__}\n"
    helped = cli("--help").stdout
    for command in ("serve", "dev", "sandbox", "check-env", "migrate"):
        assert f"  {command} " in helped


def test_openapi_prints_the_document_and_nothing_else(tmp_path: Path):
    done = run("openapi", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["openapi"].startswith("3.1")
    assert "post" in document["paths"]["/recipes"]
