"""`cookcam doctor` against the real server: all is well, and seeded faults are found."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio
from click.testing import CliRunner

from cookcam.cli.doctor import doctor
from cookcam.cli.doctor_checks import CHECK_TIMEOUT
from cookcam.sandbox.gotrue import User
from tests.identity.project import PASSWORD, new_user, open_project
from tests.support.commands import ROOT, run
from tests.support.sentry_ingest import open_sentry_ingest
from tests.support.tls import make_certificate
from tests.support.whole_server import ServerUnderTest, environment, whole_server

WEBHOOKS = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_test"}
LIMITED = {"ENABLE_RATE_LIMITING": "true"}


@asynccontextmanager
async def server_with_user(
    database_url: str, **settings: str
) -> AsyncIterator[tuple[ServerUnderTest, User]]:
    async with (
        open_project(database_url) as gotrue,
        whole_server(environment(database_url, gotrue, **settings)) as server,
    ):
        yield server, await new_user(gotrue)


async def check(url: str, *arguments: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """Runs the command; returns its exit status and the findings by check."""
    start = partial(run, "doctor", url, "--json", *arguments, cwd=ROOT, env=environ, timeout=60)
    done = await trio.to_thread.run_sync(start)
    report = json.loads(done.stdout)
    assert report["ok"] is (done.returncode == 0)
    return done.returncode, {finding["check"]: finding for finding in report["findings"]}


def failed(findings: dict[str, Any]) -> set[str]:
    return {check for check, finding in findings.items() if finding["state"] == "failed"}


async def test_every_check_of_a_healthy_server_is_ok(fresh_database_url: str) -> None:
    async with (
        server_with_user(fresh_database_url, **WEBHOOKS, **LIMITED) as (server, ann),
        open_sentry_ingest() as sentry,
    ):
        arguments = ("--email", ann.email, "--origin", "http://localhost:8081")
        status, findings = await check(
            server.url,
            *arguments,
            COOKCAM_DOCTOR_PASSWORD=PASSWORD,
            SENTRY_DSN=sentry.dsn.reveal(),
        )
        others = {check: one for check, one in findings.items() if one["state"] != "ok"}
        assert (status, others.keys()) == (0, {"transport"}), others
        assert others["transport"]["state"] == "skipped"  # plain HTTP on this machine
        [event] = sentry.events
        assert event["logger"] == "cookcam.doctor"
        assert PASSWORD not in str(findings)


async def test_without_an_account_the_rest_is_checked(fresh_database_url: str) -> None:
    async with server_with_user(fresh_database_url, **WEBHOOKS, **LIMITED) as (server, _):
        status, findings = await check(server.url)
        assert status == 0
        skipped = {check for check, one in findings.items() if one["state"] == "skipped"}
        assert skipped == {"transport", "sign-in", "sign-out", "error reports"}


async def test_seeded_faults_are_shown_as_failed(fresh_database_url: str) -> None:
    """No limits, and no secret for webhooks."""
    settings = {"STRIPE_SECRET_KEY": "sk_test_1", "ENABLE_RATE_LIMITING": "false"}
    async with server_with_user(fresh_database_url, **settings) as (server, ann):
        status, findings = await check(
            server.url, "--email", ann.email, COOKCAM_DOCTOR_PASSWORD="wrong"
        )
        assert status == 1
        assert failed(findings) == {"rate limits", "webhook signature", "sign-in"}
        assert findings["webhook signature"]["detail"] == "STRIPE_WEBHOOK_SECRET is not set"
        assert findings["sign-in"]["detail"] == "the sign-in is 401"


async def test_silent_server_fails_every_check_that_needs_it() -> None:
    status, findings = await check("http://127.0.0.1:9")
    assert status == 1
    assert findings["health"]["detail"] == "does not accept connections"
    assert failed(findings) >= {"health", "readiness, migrations", "Socket.IO", "plain socket"}


async def test_untrusted_certificate_is_named(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)

    async def reject(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.do_handshake()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, reject, 0, context, host="127.0.0.1")
        [listener, *_] = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        began = trio.current_time()
        status, findings = await check(f"https://127.0.0.1:{port}")
        assert trio.current_time() - began < CHECK_TIMEOUT
        nursery.cancel_scope.cancel()
    assert status == 1
    untrusted = "the certificate is not trusted"
    hint = f"{untrusted}; SSL_CERT_FILE can name the certificate of its authority"
    assert findings["transport"]["detail"] == hint
    assert findings["health"]["detail"] == findings["plain socket"]["detail"] == untrusted
    assert failed(findings) == findings.keys() - {"sign-in", "sign-out", "error reports"}


async def test_redirecting_address_is_named_and_not_checked_further() -> None:
    async def redirect(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(
                b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://api.example/health\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, redirect, 0, host="127.0.0.1")
        [listener, *_] = await nursery.start(serve)
        status, findings = await check(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.cancel_scope.cancel()
    assert status == 1
    assert findings.keys() == {"transport"}
    assert findings["transport"]["state"] == "failed"
    assert findings["transport"]["detail"] == "the address redirects to https://api.example"


def test_table_has_a_line_for_each_check() -> None:
    result = CliRunner().invoke(doctor, ["http://127.0.0.1:9"])
    lines = result.output.splitlines()
    assert lines[1] == "failed   health                   does not accept connections"
    assert result.exit_code == 1
