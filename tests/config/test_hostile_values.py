"""Every setting with values that its reader would fail on later: one line each, nothing shown."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from cookcam.cli import main
from cookcam.config import ConfigError, described, load
from cookcam.config.addresses import RedisAddress
from cookcam.config.secret import Secret
from tests.support.environments import DEVELOPMENT, P256_KEY, PRODUCTION, RSA_KEY

PASSWORD = "s3cr3tpart"
NAMES = sorted({setting.name for setting in described()})

HOSTILE = [
    "\x00",
    "a\x00b",
    "a\x1b[31m",
    "\udc80\udcff",
    "\u202e\u200b",
    "é" * 300,
    "x" * 70_000,
    "http://[::1",
    "http://[::1]:port",
    "https://exa mple.com",
    "https://user:pa/ss@host",
    "https://host:0",
    "https://-.example",
    "https://1.2.3.400",
    "https://\u2100.example",
    "postgresql://a:%zz@host/db",
    "postgresql://a:b@host:99999/db",
    "redis://:p@ss/w@host",
    "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",
    '{"client_email": 1, "private_key": 2, "project_id": "p"}',
    "[" * 100_000,
    "/",
    "/proc/self/mem",
    "٣",
    "1e400",
    "-1",
    "9" * 400,
    "25:00",
    ",",
    "*",
    "null",
    "::/0",
    "%",
    "<your-key>",
]


@pytest.fixture(autouse=True, scope="module")
def keys_parsed_once() -> Iterator[None]:
    """Parse each private key once: checking the unchanged keys takes most of `load`'s time."""
    with pytest.MonkeyPatch.context() as patch:
        parse = serialization.load_pem_private_key
        patch.setattr(serialization, "load_pem_private_key", lru_cache(maxsize=16)(parse))
        yield


def mistakes_of(environ: dict[str, str]) -> dict[str, str]:
    """The mistakes of `environ`: variable to the whole line. Empty for a good one."""
    try:
        load(environ)
    except ConfigError as error:
        return {mistake.variable: str(mistake) for mistake in error.mistakes}
    return {}


@pytest.mark.parametrize("base", [DEVELOPMENT, PRODUCTION], ids=["development", "production"])
@pytest.mark.parametrize("name", NAMES)
def test_hostile_value_is_accepted_or_is_one_line(name: str, base: dict[str, str]) -> None:
    for value in HOSTILE:
        for variable, line in mistakes_of({**base, name: value}).items():
            assert line.startswith(variable)
            assert line.isprintable()
            if len(value) > 8:
                assert value not in line


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(NAMES), st.text(max_size=60) | st.text(string.printable, max_size=60))
def test_any_text_is_accepted_or_is_one_line(name: str, value: str) -> None:
    for line in mistakes_of({**PRODUCTION, name: value}).values():
        assert line.isprintable()


def url_with(password: str, scheme: str) -> str:
    return f"{scheme}://cook:{password}@host.example:5432/1"


RAW = [f"{PASSWORD}{mark}{PASSWORD}" for mark in ("%", " ", "@", "/", "%zz", "/@", "@/", "?@")]
URLS = [
    ("DATABASE_URL", "postgresql"),
    ("MIGRATION_DATABASE_URL", "postgresql"),
    ("REDIS_URL", "redis"),
    ("SENTRY_DSN", "https"),
    *(
        (setting.name, "https")
        for setting in described()
        if setting.name.endswith(("_URL", "_BASE"))
        and setting.name not in ("DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL")
    ),
]


@pytest.mark.parametrize(("name", "scheme"), URLS)
@pytest.mark.parametrize("password", RAW)
def test_password_with_a_raw_delimiter_is_named_and_not_shown(
    name: str, scheme: str, password: str
) -> None:
    environ = {**DEVELOPMENT, name: url_with(password, scheme)}
    found = mistakes_of(environ)
    assert found.keys() == {name}
    assert PASSWORD not in found[name]


@pytest.mark.parametrize(
    ("password", "fault"),
    [("a%b", "a % must be written %25"), ("a b", "a space must be written %20"), ("a@b", "%40")],
)
def test_error_of_a_database_url_shows_the_right_form(password: str, fault: str) -> None:
    found = mistakes_of({**DEVELOPMENT, "DATABASE_URL": f"postgresql://u:{password}@h/d"})
    assert fault in found["DATABASE_URL"]


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=maybe",
        "sslmode=verify-full&sslrootcert=/nowhere/root.crt",
        "connect_timeout=soon",
        "keepalives_idle=x",
        "target_session_attrs=leader",
        "no_such_option=1",
        "host=a,b&port=1,2,3",
    ],
)
def test_option_that_libpq_would_refuse_at_the_first_connection_is_rejected(query: str) -> None:
    assert mistakes_of({**DEVELOPMENT, "DATABASE_URL": f"postgresql:///d?{query}"})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%2F%25@h:6432/d?sslmode=require&connect_timeout=3",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/d",
        "postgresql://u@/d?host=@abstract",
        "postgresql://u:p?w@h/d",
        "postgresql://[::1]:5432/d",
        "postgresql://u:p@a:1,b:2/d?target_session_attrs=read-write",
    ],
)
def test_percent_encoded_and_local_database_urls_are_accepted(url: str) -> None:
    assert mistakes_of({**DEVELOPMENT, "DATABASE_URL": url}) == {}


ADDRESS_TEXT = st.text("aB1%@:/?#[] .-_é\\", max_size=25)


@settings(max_examples=300, deadline=None)
@given(ADDRESS_TEXT, st.sampled_from(["https", "postgresql", "redis"]))
def test_accepted_url_is_accepted_by_the_library_that_uses_it(rest: str, scheme: str) -> None:
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "https": ("SUPABASE_URL", httpx.URL),
        "postgresql": ("DATABASE_URL", conninfo_to_dict),
        "redis": ("REDIS_URL", RedisAddress.of),
    }
    name, reader = readers[scheme]
    url = f"{scheme}://{rest}"
    if not mistakes_of({**DEVELOPMENT, name: url}):
        reader(url.strip())


@settings(max_examples=300, deadline=None)
@given(st.text("ab1@:/.-+_ ", max_size=20))
def test_accepted_dsn_is_accepted_by_sentry(rest: str) -> None:
    from sentry_sdk.utils import Dsn

    dsn = f"https://{rest}"
    if not mistakes_of({**DEVELOPMENT, "SENTRY_DSN": dsn}):
        Dsn(dsn.strip())


@pytest.mark.parametrize(
    "name", ["SUPABASE_ANON_KEY", "OPENAI_API_KEY", "STRIPE_SECRET_KEY", "INTERNAL_API_KEY"]
)
@pytest.mark.parametrize("value", ["k" * 40 + "é", "k" * 40 + "\n" + "k", "k\u200b" * 40])
def test_key_that_no_header_can_carry_is_rejected(name: str, value: str) -> None:
    assert mistakes_of({**DEVELOPMENT, name: value}).keys() == {name}


def test_key_of_another_kind_is_rejected() -> None:
    apns = {"APNS_KEY_ID": "k", "APNS_TEAM_ID": "t"}
    found = mistakes_of({**DEVELOPMENT, **apns, "APNS_PRIVATE_KEY": RSA_KEY})
    assert "P-256" in found["APNS_PRIVATE_KEY"]
    account = json.dumps({"client_email": "a@b.example", "private_key": P256_KEY})
    found = mistakes_of({**DEVELOPMENT, "GOOGLE_SERVICE_ACCOUNT_KEY": account})
    assert "RSA" in found["GOOGLE_SERVICE_ACCOUNT_KEY"]


def test_tls_files_that_cannot_be_served_are_rejected(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    files = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
    assert "readable" in mistakes_of({**DEVELOPMENT, **files})["TLS_CERT_FILE"]
    key.write_text(P256_KEY)
    certificate.write_text("no certificate")
    assert "in PEM" in mistakes_of({**DEVELOPMENT, **files})["TLS_CERT_FILE"]


def test_older_redis_settings_name_the_variable_that_is_wrong() -> None:
    host = {**DEVELOPMENT, "REDIS_HOST": "cache.example"}
    assert mistakes_of({**host, "REDIS_PORT": "many"}).keys() == {"REDIS_PORT"}
    assert mistakes_of({**host, "REDIS_DB": "x"}).keys() == {"REDIS_DB"}
    assert mistakes_of({**host, "REDIS_HOST": "a b"}).keys() == {"REDIS_HOST"}
    url = load({**host, "REDIS_PASSWORD": "p@ss/w%"}).redis.url
    assert isinstance(url, Secret)
    assert RedisAddress.of(url.reveal()).password == "p@ss/w%"


@pytest.mark.parametrize(
    "changed",
    [
        {"DATABASE_URL": f"postgresql://u:{PASSWORD}%@h/d"},
        {"DATABASE_URL": f"postgresql://u:{PASSWORD}@{PASSWORD}@h/d"},
        {"REDIS_URL": f"redis://:{PASSWORD} x@h"},
        {"SENTRY_DSN": f"https://{PASSWORD}@h/project"},
        {"APNS_PRIVATE_KEY": PASSWORD, "APNS_KEY_ID": "k", "APNS_TEAM_ID": "t"},
    ],
)
def test_check_env_and_start_refuse_alike(
    changed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def lines(command: str) -> list[str]:
        environ: dict[str, str | None] = {**PRODUCTION, **changed}
        done = CliRunner().invoke(main, [command], env=environ, catch_exceptions=False)
        assert done.exit_code == 1
        assert PASSWORD not in click.unstyle(done.output)
        assert "Traceback" not in done.output
        output = done.stdout.rpartition("\n\n")[2] if command == "check-env" else done.stderr
        return output.splitlines()

    assert lines("check-env") == lines("serve")
    assert len(lines("serve")) == 1


def test_env_file_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "my.env"
    file.write_bytes(b"PORT=\xff\xfe\n")
    done = CliRunner().invoke(main, ["check-env", "--env-file", str(file)], catch_exceptions=False)
    assert done.exit_code == 1
    assert "UTF-8" in done.stderr
