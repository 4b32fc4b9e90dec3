from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cookcam.realtime.engineio.outbox import Message
from cookcam.realtime.engineio.packets import (
    MESSAGE,
    Packet,
    PacketError,
    decode_frame,
    decode_payload,
    encode_payload,
    open_packet,
)

# The separator of payloads must not occur in texts (engine.io protocol, "HTTP long-polling").
texts = st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"]))
data = st.one_of(texts, st.binary())


@given(data)
def test_a_message_survives_a_websocket(sent):
    (frame,) = Message.of(sent).frames
    assert decode_frame(frame) == Packet(MESSAGE, sent)


@given(st.lists(data, min_size=1))
def test_messages_survive_a_payload(sent):
    frames = [frame for part in sent for frame in Message.of(part).frames]
    assert decode_payload(encode_payload(frames)) == [Packet(MESSAGE, part) for part in sent]


@given(st.one_of(st.text(), st.binary()))
@example("")
@example("7")
def test_a_frame_is_a_packet_or_a_packet_error(frame):
    try:
        packet = decode_frame(frame)
    except PacketError:
        return
    assert packet.type in "0123456"


@given(
    st.one_of(
        st.binary(),
        st.text(st.sampled_from("b0123456\x1e=AQ")).map(str.encode),
        st.binary().map(lambda raw: b"b" + b64encode(raw)[:-1]),
    )
)
@example(b"")
@example(b"\xff")
@example(b"bAQIDBA=")
def test_a_payload_is_packets_or_a_packet_error(body):
    try:
        packets = decode_payload(body)
    except PacketError:
        return
    assert packets


def test_data_is_left_as_it_was_sent():
    assert decode_frame('4{"a": 1}').data == '{"a": 1}'


def test_the_open_packet_gives_times_in_milliseconds():
    packet = open_packet("id", ["websocket"], 25.0, 20.0, 1_000_000)
    assert packet[0] == "0"
    assert json.loads(packet[1:]) == {
        "sid": "id",
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 1000000,
    }


@pytest.mark.parametrize("body", [b"4a\x1e", b"\x1e4a", b"bA", b"b!!!!"])
def test_broken_parts_spoil_the_payload(body):
    with pytest.raises(PacketError):
        decode_payload(body)
