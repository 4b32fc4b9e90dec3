"""Who signed an event, and when."""

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


def test_an_event_is_read_whole():
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


def test_it_is_what_the_library_of_stripe_signs_and_accepts():
    from stripe import WebhookSignature

    text = PAYLOAD.decode()
    header = WebhookSignature.generate_signature_header(text, NEW, AT)
    assert header == signature(PAYLOAD, [NEW], AT)
    verify(PAYLOAD, header, BOTH, now=NOW)


@pytest.mark.parametrize("signers", [[OLD], [NEW], [OLD, NEW], [OTHER, NEW]])
def test_while_a_secret_is_replaced_either_is_good(signers):
    verify(PAYLOAD, signature(PAYLOAD, signers, AT), BOTH, now=NOW)


@pytest.mark.parametrize("secrets", [[], [Secret(OTHER)]])
def test_another_secret_is_not(secrets):
    with pytest.raises(InvalidSignature, match="No matching signature"):
        verify(PAYLOAD, signature(PAYLOAD, [OLD, NEW], AT), secrets, now=NOW)


@pytest.mark.parametrize(
    ("header", "words"),
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
def test_headers_that_sign_nothing(header, words):
    with pytest.raises(InvalidSignature, match=words) as caught:
        verify(PAYLOAD, header, BOTH, now=NOW)
    assert caught.value.status == 400


@pytest.mark.parametrize("seconds", [-300, -1, 0, 299, 300])
def test_within_the_tolerance(seconds):
    verify(PAYLOAD, signature(PAYLOAD, [NEW], AT), BOTH, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-301, 301, 10**6])
def test_outside_of_it(seconds):
    with pytest.raises(InvalidSignature, match="tolerance"):
        verify(PAYLOAD, signature(PAYLOAD, [NEW], AT), BOTH, now=NOW + timedelta(seconds=seconds))


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_no_byte_may_be_another(position, difference):
    changed = bytearray(PAYLOAD)
    changed[position] ^= difference
    with pytest.raises(InvalidSignature):
        verify(bytes(changed), signature(PAYLOAD, [NEW], AT), BOTH, now=NOW)


@given(st.integers(0, 10**12 - 1))
def test_nor_the_time(time):
    header = signature(PAYLOAD, [NEW], AT).replace(f"t={AT}", f"t={time}")
    if time != AT:
        with pytest.raises(InvalidSignature, match="No matching signature"):
            verify(PAYLOAD, header, BOTH, now=NOW)


@given(st.text(max_size=200))
@example("t=1,v1=" + "a" * 64)
@example("t=99999999999999999999999,v1=a")
def test_no_header_breaks_it(header):
    with pytest.raises(InvalidSignature):
        verify(PAYLOAD, header, BOTH, now=NOW)


@given(st.binary(max_size=200))
@example(b"[]")
@example(b"{}")
@example(b'{"object": "event", "data": {"object": []}}')
@example(orjson.dumps({**EVENT, "created": "soon"}))
@example(orjson.dumps({**EVENT, "id": None}))
@example(orjson.dumps({**EVENT, "object": "v2.core.event"}))
def test_what_is_signed_and_no_event(payload):
    with pytest.raises(MalformedObject):
        verify(payload, signature(payload, [NEW], AT), BOTH, now=NOW)
