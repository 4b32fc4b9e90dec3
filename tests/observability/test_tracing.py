"""Traces of the running program, as a collector receives them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cookcam.integrations.otlp import encode_span
from cookcam.observability.tracing import (
    Kind,
    Span,
    Tracer,
    activate,
    child_span,
    current_span,
    span,
)
from tests.identity.project import PASSWORD
from tests.support.live_clients import open_live_server
from tests.support.otlp_receiver import fields, otlp_receiver

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_spans_of_a_request_are_exported_along_the_task_tree(
    fresh_database_url: str,
) -> None:
    async with (
        otlp_receiver() as receiver,
        open_live_server(
            fresh_database_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer collector-secret,x-tenant=7",
            GIT_COMMIT_SHA="abc1234",
        ) as live,
    ):
        user = await live.person("Ann")
        token = live.gotrue.issue_token(user)
        response = await live.server.http.get(
            "/users/profile",
            headers={
                "traceparent": f"00-{TRACE}-{PARENT}-01",
                "Authorization": f"Bearer {token}",
                "X-Request-ID": "request-1",
            },
        )
        assert response.status_code == 200
        await live.server.http.post(
            "/auth/signin", json={"email": user.email, "password": PASSWORD}
        )
        ann = await live.connect(user)
        await ann.send("leave_cooking_session", {"sessionId": "none"})

        request = await receiver.expect("GET /api/v1/users/profile")
        assert (request.trace_id, request.parent_id, request.kind) == (TRACE, PARENT, 2)
        assert request.attributes == {
            "http.request.method": "GET",
            "http.route": "/api/v1/users/profile",
            "http.response.status_code": 200,
            "cookcam.request_id": "request-1",
            "enduser.id": str(user.id),
        }
        assert request.resource["service.name"] == "cookcam"
        assert request.resource["service.version"] == "cookcam-api@abc1234"
        reads = [one for one in receiver.spans if one.trace_id == TRACE and one.name == "db.read"]
        assert {one.parent_id for one in reads} == {request.span_id}
        assert all(0 < one.nanoseconds <= request.nanoseconds for one in reads)
        assert any("select" in one.attributes["db.query.text"] for one in reads)

        sign_in = await receiver.expect("POST /api/v1/auth/signin")
        provider = next(
            one
            for one in receiver.spans
            if one.name == "supabase_auth" and one.trace_id == sign_in.trace_id
        )
        assert (provider.kind, provider.parent_id) == (3, sign_in.span_id)
        await receiver.expect("event leave_cooking_session")
        await receiver.expect("background queue depths")

        headers, _ = receiver.requests[0]
        assert headers["content-type"] == "application/x-protobuf"
        assert (headers["authorization"], headers["x-tenant"]) == ("Bearer collector-secret", "7")
        everything = b"".join(body for _, body in receiver.requests)
        for secret in (token, PASSWORD, user.email, "collector-secret", live.gotrue.anon_key):
            assert secret.encode() not in everything


async def test_server_runs_while_the_collector_is_away_and_exports_later(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.app.tracing.RETRY_DELAY", 0.1)
    async with otlp_receiver() as receiver:
        receiver.status = 503
        async with open_live_server(
            fresh_database_url, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
        ) as live:
            assert (await live.server.http.get("/subscription/tiers")).status_code == 200
            with trio.fail_after(10):
                while not receiver.requests:
                    await trio.sleep(0.05)
            receiver.status = 200
            await receiver.expect("GET /api/v1/subscription/tiers")
            assert (await live.server.http.get("/nowhere")).status_code == 404
        # The last spans are exported when the server stops.
        assert "GET unmatched" in {one.name for one in receiver.spans}


def test_nothing_is_imported_or_recorded_without_a_collector() -> None:
    program = (
        "import cookcam.app.program, sys;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'httpx'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "opentelemetry" not in done.stdout
    with span("request") as current, child_span("read") as inner:
        assert current is inner is current_span() is None


def test_child_continues_the_span_and_a_failure_is_its_error() -> None:
    ended: list[Span] = []
    with (
        activate(Tracer(ended.append)),
        pytest.raises(ZeroDivisionError),
        span("request", Kind.SERVER) as request,
        child_span("read", Kind.CLIENT),
    ):
        raise ZeroDivisionError
    read, outer = ended
    assert request is outer
    assert (read.trace_id, read.parent_id) == (outer.trace_id, outer.span_id)
    assert (read.error, outer.error) == ("ZeroDivisionError", "ZeroDivisionError")
    assert current_span() is None


@pytest.mark.parametrize(
    ("header", "continued", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True, True),
        (f"00-{TRACE}-{PARENT}-00", True, False),
        (f"cc-{TRACE}-{PARENT}-01-later", True, True),
        (f"00-{TRACE}-{PARENT}-01-extra", False, True),
        (f"ff-{TRACE}-{PARENT}-01", False, True),
        (f"00-{'0' * 32}-{PARENT}-01", False, True),
        (f"00-{TRACE}-{'0' * 16}-01", False, True),
        (f"00-{TRACE.upper()}-{PARENT}-01", False, True),
        ("", False, True),
    ],
)
def test_traceparent_is_read_by_the_recommendation(
    header: str, continued: bool, sampled: bool
) -> None:
    ended: list[Span] = []
    with activate(Tracer(ended.append)), span("request", parent=header) as current:
        assert current is not None
        assert ((current.trace_id, current.parent_id) == (TRACE, PARENT)) == continued
        assert current.sampled == sampled
        assert current.traceparent.endswith("-01" if sampled else "-00")
        with child_span("read") as child:
            assert (child is not None) == sampled
    assert len(ended) == (2 if sampled else 0)


@given(
    st.text(max_size=20),
    st.dictionaries(
        st.text(max_size=8), st.text(max_size=20) | st.integers(0, 2**63 - 1), max_size=3
    ),
    st.integers(0, 2**64 - 1),
)
def test_spans_survive_the_encoding(name: str, attributes: dict[str, Any], started: int) -> None:
    made = Span(TRACE, PARENT, None, name, Kind.CLIENT, True, started, started, attributes)
    read = fields(encode_span(made))
    assert (read[1][0].hex(), read[2][0].hex(), 4 in read) == (TRACE, PARENT, False)
    assert (read[5][0].decode(), read[6], read[7]) == (name, [3], [started])
    pairs = [fields(one) for one in read.get(9, [])]
    values = [fields(pair[2][0]) for pair in pairs]
    assert {
        pair[1][0].decode(): value[1][0].decode() if 1 in value else value[3][0]
        for pair, value in zip(pairs, values, strict=True)
    } == attributes
