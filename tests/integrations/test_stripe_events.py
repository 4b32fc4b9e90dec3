"""Verification of webhook signatures, and parsing of events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cookcam.config.readers import Secret
from cookcam.integrations.stripe.events import Event, InvalidSignature, verify
from cookcam.integrations.stripe.reading import MalformedObject
from cookcam.sandbox.stripe import signature

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
OLD, NEW, OTHER = "whsec_old", "whsec_new", "whsec_other"
EVENT: Mapping[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "created": AT,
    "livemode": False,
    "api_version": "2025-05-28.basil",
    "account": "acct_1",
    "data": {"object": {"id": "in_1", "note": " <b> "}, "previous_attributes": {"status": "open"}},
}
PAYLOAD = orjson.dumps(EVENT, option=orjson.OPT_INDENT_2)
BOTH = [Secret(NEW), Secret(OLD)]


def test_event_is_verified_and_parsed():
    event = verify(PAYLOAD, signature(PAYLOAD, [NEW], AT), BOTH, now=NOW)
    assert event == Event.of(EVENT)
    assert (event.id, event.type, event.created, event.account) == (
        "evt_1",
        "invoice.paid",
        NOW,
        "acct_1",
    )
    assert event.object["note"] == " <b> "
    assert event.previous == {"status": "open"}
    assert "note" not in repr(event)


def test_signatures_are_those_of_stripes_library():
    from stripe import WebhookSignature

    text = PAYLOAD.decode()
    header = WebhookSignature.generate_signature_header(text, NEW, AT)
    assert header == signature(PAYLOAD, [NEW], AT)
    verify(PAYLOAD, header, BOTH, now=NOW)


@pytest.mark.parametrize("signers", [[OLD], [NEW], [OLD, NEW], [OTHER, NEW]])
def test_signature_by_any_current_secret_is_accepted(signers):
    verify(PAYLOAD, signature(PAYLOAD, signers, AT), BOTH, now=NOW)


@pytest.mark.parametrize("secrets", [[], [Secret(OTHER)]])
def test_signature_by_another_secret_is_rejected(secrets):
    with pytest.raises(InvalidSignature, match="No matching signature"):
        verify(PAYLOAD, signature(PAYLOAD, [OLD, NEW], AT), secrets, now=NOW)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Missing signature"),
        ("", "Missing signature"),
        ("garbage", "Malformed signature"),
        (f"t={AT}", "Malformed signature"),
        ("v1=ab", "Malformed signature"),
        ("t=,v1=ab", "Malformed signature"),
        ("t=-5,v1=ab", "Malformed signature"),
        ("t=\u0661,v1=ab", "Malformed signature"),
        (f"t={AT},t={AT},v1=ab", "Malformed signature"),
        (f"t={AT},v1=\u00e4", "Malformed signature"),
        (f"t={AT},v0={signature(PAYLOAD, [NEW], AT)[-64:]}", "Malformed signature"),
        (f"t={AT},v1=ab", "No matching signature"),
    ],
)
def test_invalid_header_is_rejected(header, message):
    with pytest.raises(InvalidSignature, match=message) as caught:
        verify(PAYLOAD, header, BOTH, now=NOW)
    assert caught.value.status == 400


@pytest.mark.parametrize("seconds", [-300, -1, 0, 299, 300])
def test_timestamp_within_the_tolerance_is_accepted(seconds):
    verify(PAYLOAD, signature(PAYLOAD, [NEW], AT), BOTH, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-301, 301, 10**6])
def test_timestamp_outside_the_tolerance_is_rejected(seconds):
    with pytest.raises(InvalidSignature, match="tolerance"):
        verify(PAYLOAD, signature(PAYLOAD, [NEW], AT), BOTH, now=NOW + timedelta(seconds=seconds))


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_changed_payload_is_rejected(position, difference):
    changed = bytearray(PAYLOAD)
    changed[position] ^= difference
    with pytest.raises(InvalidSignature):
        verify(bytes(changed), signature(PAYLOAD, [NEW], AT), BOTH, now=NOW)


@given(st.integers(0, 10**12 - 1))
def test_changed_timestamp_is_rejected(time):
    header = signature(PAYLOAD, [NEW], AT).replace(f"t={AT}", f"t={time}")
    if time != AT:
        with pytest.raises(InvalidSignature, match="No matching signature"):
            verify(PAYLOAD, header, BOTH, now=NOW)


@given(st.text(max_size=200))
@example("t=1,v1=" + "a" * 64)
@example("t=99999999999999999999999,v1=a")
def test_arbitrary_header_is_rejected(header):
    with pytest.raises(InvalidSignature):
        verify(PAYLOAD, header, BOTH, now=NOW)


@given(st.binary(max_size=200))
@example(b"[]")
@example(b"{}")
@example(b'{"object": "event", "data": {"object": []}}')
@example(orjson.dumps({**EVENT, "created": "soon"}))
@example(orjson.dumps({**EVENT, "id": None}))
@example(orjson.dumps({**EVENT, "object": "v2.core.event"}))
def test_signed_payload_that_is_no_event_is_malformed(payload):
    with pytest.raises(MalformedObject):
        verify(payload, signature(payload, [NEW], AT), BOTH, now=NOW)
