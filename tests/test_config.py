"""Configuration: every kind of mistake, and where values come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cookcam import __version__
from cookcam.config import (
    ConfigError,
    described,
    load,
    load_database,
    read_environment,
    without_effect,
)
from cookcam.config.secret import Secret
from cookcam.config.sections import DEPLOYED
from tests.support.environments import (
    DEVELOPMENT,
    GOOGLE_KEY,
    P256_KEY,
    PRODUCTION,
    SECRETS,
    STAGING,
)


def mistakes_of(environ: dict[str, str]) -> dict[str, str]:
    """The mistakes of `environ`: variable to the whole line."""
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return {mistake.variable: str(mistake) for mistake in caught.value.mistakes}


def test_a_minimal_development_environment_loads_with_the_documented_defaults():
    config = load(DEVELOPMENT)
    assert config.environment == "development"
    assert not config.deployed
    assert (config.server.host, config.server.port) == ("127.0.0.1", 3000)
    assert config.server.cors_origins == ("http://localhost:8081",)
    assert (config.database.pool_min, config.database.pool_max) == (5, 20)
    assert config.drain.timeout == 30
    assert config.limits.max_requests == 100
    assert config.release == f"cookcam-api@{__version__}"


@pytest.mark.parametrize("environ", [PRODUCTION, STAGING], ids=["production", "staging"])
def test_a_complete_deployment_loads(environ: dict[str, str]):
    config = load(environ)
    assert config.deployed
    assert config.release == "cookcam-api@0a1b2c3d"


@pytest.mark.parametrize("name", sorted(DEVELOPMENT))
def test_a_required_variable_is_missed_in_every_environment(name: str):
    for environ in (DEVELOPMENT, STAGING, PRODUCTION):
        missing = {key: value for key, value in environ.items() if key != name}
        assert "is required" in mistakes_of(missing)[name]


@pytest.mark.parametrize("environment", DEPLOYED)
@pytest.mark.parametrize(
    "name", [setting.name for setting in described() if setting.required == DEPLOYED]
)
def test_a_deployment_has_no_fallback(environment: str, name: str):
    complete = PRODUCTION if environment == "production" else STAGING
    missing = {key: value for key, value in complete.items() if key != name}
    assert set(mistakes_of(missing)) == {name}
    assert "is required" in mistakes_of(missing)[name]


@pytest.mark.parametrize("name", sorted(DEVELOPMENT))
@pytest.mark.parametrize("empty", ["", "  "])
def test_empty_means_unset(name: str, empty: str):
    assert "is required" in mistakes_of({**DEVELOPMENT, name: empty})[name]


def test_an_empty_optional_variable_is_its_default():
    assert load({**DEVELOPMENT, "PORT": "", "JWT_SECRET": ""}) == load(DEVELOPMENT)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("DATABASE_URL", "mysql://db/cookcam", "postgresql://"),
        ("DATABASE_URL", "postgresql://", "postgresql://"),
        ("MIGRATION_DATABASE_URL", "db.example", "postgresql://"),
        ("SUPABASE_URL", "project.supabase.co", "https://"),
        ("SUPABASE_URL", "https://", "https://"),
        ("SUPABASE_URL", "https://project.supabase.co:99999", "https://"),
        ("APP_BASE_URL", "javascript:alert(1)", "https://"),
        ("SENTRY_DSN", "sentry", "https://"),
        ("JWT_SECRET", "j" * 31, "at least 32 characters"),
        ("JWT_REFRESH_SECRET", "short", "at least 32 characters"),
        ("INTERNAL_API_KEY", "short", "at least 32 characters"),
        ("PORT", "http", "whole number from 0 to 65535"),
        ("PORT", "65536", "whole number from 0 to 65535"),
        ("PORT", "-1", "whole number from 0 to 65535"),
        ("PORT", "3000.5", "whole number from 0 to 65535"),
        ("RATE_LIMIT_WINDOW_MS", "0", "whole number"),
        ("RATE_LIMIT_MAX_REQUESTS", "many", "whole number"),
        ("RATE_LIMIT_AUTH_WINDOW_MS", "1e3", "whole number"),
        ("RATE_LIMIT_AUTH_MAX_REQUESTS", "0", "whole number"),
        ("SOCKET_MAX_PER_USER", "0", "whole number"),
        ("SOCKET_HANDSHAKES_PER_MINUTE", "0", "whole number"),
        ("SOCKET_PING_INTERVAL_SECONDS", "0", "number from 0.1"),
        ("SOCKET_PING_TIMEOUT_SECONDS", "inf", "number from 0.1"),
        ("DB_POOL_MIN", "-5", "whole number"),
        ("DB_POOL_MAX", "0", "whole number"),
        ("KEEP_ALIVE_SECONDS", "0", "number from 1"),
        ("REQUEST_TIMEOUT_SECONDS", "nan", "number from 0.1"),
        ("DRAIN_NOTICE_SECONDS", "-1", "number from 0"),
        ("DRAIN_LINGER_SECONDS", "a while", "number from 0"),
        ("DRAIN_TIMEOUT_SECONDS", "0", "number from 0.001"),
        ("ENABLE_WEBSOCKETS", "yes", "true or false"),
        ("ENABLE_RATE_LIMITING", "0", "true or false"),
        ("LOG_LEVEL", "loud", "one of error, warn, info, debug"),
        ("CORS_ORIGIN", "https://cookcam.ai/app", "origins"),
        ("CORS_ORIGIN", "*", "origins"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "networks"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", "{", "JSON text"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", '{"client_email": "a"}', "private_key"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY_FILE", "/nowhere/key.json", "readable file"),
        ("FCM_SERVICE_ACCOUNT_KEY", "{", "JSON text"),
        ("FCM_SERVICE_ACCOUNT_KEY", "/nowhere/key.json", "name of its file"),
        ("FCM_SERVICE_ACCOUNT_KEY", '{"client_email": "a", "private_key": "b"}', "project_id"),
        ("APP_ENV", "prod", "one of development, test, staging, production"),
        ("NODE_ENV", "qa", "one of development, test, staging, production"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_rule_and_not_the_value(
    name: str, value: str, rule: str
):
    found = mistakes_of({**DEVELOPMENT, name: value})
    assert set(found) == {name}
    assert found[name].startswith(name)
    assert rule in found[name]
    assert "\n" not in found[name]
    if name in SECRETS and value not in rule:
        assert value not in found[name]


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://cookcam_app@/cookcam?host=/var/run/cookcam",
        "postgresql:///cookcam",
        "postgres://a:b@one:5432,two:5433/cookcam",
    ],
)
def test_every_form_of_a_postgresql_address_is_accepted(value: str):
    assert load({**DEVELOPMENT, "DATABASE_URL": value}).database.url.reveal() == value


def test_all_mistakes_are_reported_at_once():
    found = mistakes_of({"PORT": "x", "LOG_LEVEL": "y", "SUPABASE_URL": "z"})
    assert set(found) == {"PORT", "LOG_LEVEL", *DEVELOPMENT}


def test_error_names_the_source_of_the_value():
    environ = {name: value for name, value in DEVELOPMENT.items() if name != "OPENAI_API_KEY"}
    assert mistakes_of(environ) == {
        "OPENAI_API_KEY": "OPENAI_API_KEY is required (https://platform.openai.com/api-keys)"
    }


@pytest.mark.parametrize("name", ["JWT_SECRET", "OPENAI_API_KEY", "STRIPE_WEBHOOK_SECRET"])
@pytest.mark.parametrize(
    "value",
    [
        "your-32-character-secret-goes-here-ok",
        "changeme-changeme-changeme-changeme",
        "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE",
        "<32 random characters from openssl>",
    ],
)
def test_a_placeholder_passes_in_development_only(name: str, value: str):
    load({**DEVELOPMENT, name: value})
    for environ in (STAGING, PRODUCTION):
        assert "placeholder" in mistakes_of({**environ, name: value})[name]


def test_rules_of_several_settings_are_told_with_all_other_mistakes():
    environ = {**PRODUCTION, "STRIPE_SECRET_KEY": "sk_test_1", "PORT": "x", "OPENAI_API_KEY": ""}
    assert mistakes_of(environ).keys() == {"STRIPE_SECRET_KEY", "PORT", "OPENAI_API_KEY"}


def test_stripe_keys_belong_to_their_environment():
    assert mistakes_of({**DEVELOPMENT, "STRIPE_SECRET_KEY": "sk_live_1"}) == {
        "STRIPE_SECRET_KEY": "STRIPE_SECRET_KEY must not be a live key outside production"
    }
    assert "STRIPE_SECRET_KEY" in mistakes_of({**STAGING, "STRIPE_SECRET_KEY": "rk_live_1"})
    assert mistakes_of({**PRODUCTION, "STRIPE_SECRET_KEY": "sk_test_1"}) == {
        "STRIPE_SECRET_KEY": "STRIPE_SECRET_KEY must be a live key in production"
    }


def test_rules_that_need_two_settings():
    pool = {"DB_POOL_MIN": "9", "DB_POOL_MAX": "8"}
    assert set(mistakes_of({**DEVELOPMENT, **pool})) == {"DB_POOL_MIN"}
    assert set(mistakes_of({**DEVELOPMENT, "SMTP_USER": "cookcam"})) == {"SMTP_USER"}
    both = {"SMTP_HOST": "mail.test", "RESEND_API_KEY": "re_1"}
    assert set(mistakes_of({**DEVELOPMENT, **both})) == {"RESEND_API_KEY"}
    unlimited = {"ENABLE_RATE_LIMITING": "false"}
    assert set(mistakes_of({**PRODUCTION, **unlimited})) == {"ENABLE_RATE_LIMITING"}
    assert load({**STAGING, **unlimited}).limits.enabled is False


@pytest.mark.parametrize(
    ("name", "alias"),
    [(setting.name, alias) for setting in described() for alias in setting.aliases],
)
def test_an_alias_stands_in_for_a_name_that_is_absent_or_empty(name: str, alias: str):
    value = PRODUCTION[name]
    without = {key: text for key, text in PRODUCTION.items() if key != name}
    assert load({**without, alias: value}) == load(PRODUCTION)
    assert load({**without, name: "", alias: value}) == load(PRODUCTION)


def test_a_name_wins_over_its_alias():
    config = load({**DEVELOPMENT, "SUPABASE_SERVICE_KEY": "older"})
    assert config.identity.service_role_key.reveal() == DEVELOPMENT["SUPABASE_SERVICE_ROLE_KEY"]


def test_a_key_file_stands_in_for_the_key(tmp_path: Path):
    file = tmp_path / "play.json"
    file.write_text(GOOGLE_KEY)
    config = load({**DEVELOPMENT, "GOOGLE_SERVICE_ACCOUNT_KEY_FILE": str(file)})
    key = config.providers.google_service_account_key
    assert key is not None
    assert key.reveal() == GOOGLE_KEY


def test_app_env_wins_over_node_env():
    assert load({**DEVELOPMENT, "NODE_ENV": "test"}).environment == "test"
    both = {**DEVELOPMENT, "APP_ENV": "development", "NODE_ENV": "production"}
    assert load(both).environment == "development"
    assert load({**DEVELOPMENT, "APP_ENV": "", "NODE_ENV": "test"}).environment == "test"


def test_the_database_section_loads_alone():
    database = load_database({"MIGRATION_DATABASE_URL": "postgresql:///c", **DEVELOPMENT})
    assert database.migration_url == Secret("postgresql:///c")
    assert load_database({"DATABASE_URL": "postgresql:///cookcam"}).pool_max == 20
    with pytest.raises(ConfigError) as caught:
        load_database({"DB_POOL_MAX": "x"})
    assert {m.variable for m in caught.value.mistakes} == {"DATABASE_URL", "DB_POOL_MAX"}


def test_half_a_key_for_apns_names_what_is_missing():
    whole = {
        "APNS_KEY_ID": "ABC123DEFG",
        "APNS_TEAM_ID": "DEF123GHIJ",
        "APNS_PRIVATE_KEY": P256_KEY.replace("\n", "\\n"),
    }
    assert load({**DEVELOPMENT, **whole}).push.apns_key_id == "ABC123DEFG"
    assert load(DEVELOPMENT).push.apns_private_key is None
    for name in whole:
        half = {**DEVELOPMENT, **whole}
        del half[name]
        assert set(mistakes_of(half)) == {name}
    alone = {**DEVELOPMENT, "APNS_KEY_ID": "ABC123DEFG"}
    assert set(mistakes_of(alone)) == {"APNS_TEAM_ID", "APNS_PRIVATE_KEY"}


def test_names_without_effect_are_told_only_when_set():
    assert without_effect({"DEMO_MODE": "true", "SESSION_SECRET": "", "PORT": "1"}) == ["DEMO_MODE"]


# Where the environment comes from


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory and a process environment without settings."""
    for name in [*os.environ]:
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_the_file(clean: Path, monkeypatch: pytest.MonkeyPatch):
    (clean / "my.env").write_text("PORT=1\nHOST=file\n")
    monkeypatch.setenv("PORT", "2")
    environ = read_environment(clean / "my.env")
    assert (environ["PORT"], environ["HOST"]) == ("2", "file")


def test_an_empty_value_counts_in_neither(clean: Path, monkeypatch: pytest.MonkeyPatch):
    (clean / "my.env").write_text('PORT=""\nHOST=\nLOG_LEVEL=debug\n')
    monkeypatch.setenv("LOG_LEVEL", " ")
    environ = read_environment(clean / "my.env")
    assert {"PORT", "HOST"}.isdisjoint(environ)
    assert environ["LOG_LEVEL"] == "debug"


def test_an_older_name_in_the_environment_wins_over_the_newer_one_in_the_file(
    clean: Path, monkeypatch: pytest.MonkeyPatch
):
    (clean / "my.env").write_text("APP_ENV=development\nSUPABASE_SERVICE_ROLE_KEY=file\n")
    monkeypatch.setenv("NODE_ENV", "production")
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "environment")
    environ = read_environment(clean / "my.env")
    assert environ["APP_ENV"] == "production"
    assert environ["SUPABASE_SERVICE_ROLE_KEY"] == "environment"


def test_dot_env_is_read_in_development_and_not_in_a_deployment(
    clean: Path, monkeypatch: pytest.MonkeyPatch
):
    (clean / ".env").write_text("PORT=1\n")
    assert read_environment()["PORT"] == "1"
    for name in ("APP_ENV", "NODE_ENV"):
        monkeypatch.setenv(name, "production")
        assert "PORT" not in read_environment()
        assert read_environment(clean / ".env")["PORT"] == "1"
        monkeypatch.delenv(name)


def test_dot_env_of_a_deployment_may_name_it(clean: Path):
    (clean / ".env").write_text("NODE_ENV=production\n")
    assert read_environment()["NODE_ENV"] == "production"


def test_values_of_the_file_are_taken_as_they_are(clean: Path):
    (clean / "my.env").write_text("HOST='a b'  # why\nOPENAI_API_KEY=sk-${HOME}-$x\n")
    environ = read_environment(clean / "my.env")
    assert (environ["HOST"], environ["OPENAI_API_KEY"]) == ("a b", "sk-${HOME}-$x")


def test_a_file_that_is_named_must_be_there(clean: Path):
    with pytest.raises(ConfigError, match="--env-file names no readable file"):
        read_environment(clean / "absent.env")
