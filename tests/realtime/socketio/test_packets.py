from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cookcam.json_parsing import MAX_DEPTH
from cookcam.realtime.socketio.packets import (
    MAX_ATTACHMENTS,
    RESERVED_EVENTS,
    DecodeError,
    Decoder,
    Packet,
    PacketOverLimit,
    PacketType,
)

names = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda name: name not in RESERVED_EVENTS
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=4)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])).filter(lambda k: k[:1] != "_"),
            inner,
            max_size=3,
        )
    ),
    max_leaves=MAX_ATTACHMENTS,
)
namespaces = st.sampled_from(["/", "/custom", "/a/b-1"])
ids = st.none() | st.integers(0, 10**15 - 1)


def decode(frames: list[str | bytes], decoder: Decoder | None = None) -> Packet | None:
    decoder = decoder or Decoder()
    packet = None
    for frame in frames:
        assert packet is None
        packet = decoder.feed(frame)
    return packet


@given(names, st.lists(values, max_size=2), namespaces, ids)
def test_an_event_survives(name, args, namespace, ack_id):
    packet = Packet(PacketType.EVENT, namespace, [name, *args], ack_id)
    frames = packet.encode()
    if len(frames) - 1 <= MAX_ATTACHMENTS:
        assert decode(frames) == packet


@given(st.lists(values, max_size=2), namespaces, st.integers(0, 10**15 - 1))
def test_an_acknowledgement_survives(args, namespace, ack_id):
    packet = Packet(PacketType.ACK, namespace, args, ack_id)
    frames = packet.encode()
    if len(frames) - 1 <= MAX_ATTACHMENTS:
        assert decode(frames) == packet


fragments = st.sampled_from(
    [*'0123456789-,/[]{}:"ab\\ué\x00', '"_placeholder":true', '"num":0', "true", "null", "/nsp,"]
)
messages = st.one_of(
    st.text(),
    st.binary(max_size=8),
    st.lists(fragments, max_size=12).map("".join),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["0", "1", "2", "3", "4", "51-", "52-", "61-", "510-", "50-"]),
        st.sampled_from(["", "/custom,", "/custom", "/,"]),
        st.sampled_from(["", "1", "99999999999999999999"]),
        st.recursive(
            st.sampled_from([None, 1, "x", {"_placeholder": True, "num": 0}]),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ).map(json.dumps),
    ),
)


@given(st.lists(messages, max_size=6))
@example(['51-["a",{"_placeholder":true,"num":1}]', b""])
@example(['51-["a",{"_placeholder":true,"num":-1}]', b""])
@example(['51-["a",{"_placeholder":true,"num":true}]', b""])
@example(["2" + "[" * 100_000])
@example(['2["a",' + "[" * 200 + "]" * 200 + "]"])
@example(['2["\ud800"]'])
@example(["2[" + "1" * 5000 + "]"])
@example(["²["])
def test_whatever_arrives_is_packets_or_a_declared_error(received):
    decoder = Decoder(max_size=100)
    for message in received:
        try:
            decoder.feed(message)
        except PacketOverLimit:
            continue
        except DecodeError:
            return


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Packet(PacketType.CONNECT)),
        ('0/admin,{"sid":"x"}', Packet(PacketType.CONNECT, "/admin", {"sid": "x"})),
        ("0/admin", Packet(PacketType.CONNECT, "/admin")),
        ('4{"message":"no"}', Packet(PacketType.CONNECT_ERROR, "/", {"message": "no"})),
        ('2["foo"]', Packet(PacketType.EVENT, "/", ["foo"])),
        ('2/admin,["bar"]', Packet(PacketType.EVENT, "/admin", ["bar"])),
        ('212["foo"]', Packet(PacketType.EVENT, "/", ["foo"], 12)),
        ('3/admin,13["bar"]', Packet(PacketType.ACK, "/admin", ["bar"], 13)),
        ("1/admin,", Packet(PacketType.DISCONNECT, "/admin")),
        ('50-["none"]', Packet(PacketType.EVENT, "/", ["none"])),
        ("2[5]", Packet(PacketType.EVENT, "/", [5])),
    ],
)
def test_examples_of_the_protocol(text, packet):
    assert Decoder().feed(text) == packet


@pytest.mark.parametrize(
    ("packet", "frames"),
    [
        (
            Packet(PacketType.EVENT, "/", ["baz", b"\x01\x02"]),
            ['51-["baz",{"_placeholder":true,"num":0}]', b"\x01\x02"],
        ),
        (
            Packet(PacketType.EVENT, "/admin", ["baz", bytearray(b"1"), {"k": memoryview(b"2")}]),
            [
                '52-/admin,["baz",{"_placeholder":true,"num":0},{"k":{"_placeholder":true,"num":1}}]',
                b"1",
                b"2",
            ],
        ),
        (
            Packet(PacketType.ACK, "/", ["bar", b"1"], 15),
            ['61-15["bar",{"_placeholder":true,"num":0}]', b"1"],
        ),
        (Packet(PacketType.DISCONNECT, "/admin"), ["1/admin,"]),
        (Packet(PacketType.ACK, "/", [], 7), ["37[]"]),
    ],
)
def test_encoding_follows_the_protocol(packet, frames):
    assert packet.encode() == frames


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "abc",
        "2",
        "2{}",
        "2[]",
        "2[null]",
        "2[true]",
        '2["disconnect"]',
        'abc["x"]',
        "3[]",
        "3",
        '0"text"',
        "0[]",
        "1{}",
        "4",
        "5[]",
        '5-["x"]',
        '21-["x"]',
        '599999-["x"]',
        "2/" + "n" * 300 + ',["x"]',
        '2["x"',
        '2["x"]]',
        "2[NaN",
        '2["x",NAN]',
        '2["x",01]',
    ],
)
def test_what_is_not_a_packet(text):
    with pytest.raises(DecodeError):
        Decoder().feed(text)


DEEP = "[" * MAX_DEPTH + "]" * MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ('2["x",' + DEEP + "]", Packet(PacketType.EVENT)),
        ('27["x",' + DEEP + "]", Packet(PacketType.EVENT, id=7)),
        ('2/a,7["x",' + "[" * 5_000 + "]" * 5_000 + "]", Packet(PacketType.EVENT, "/a", id=7)),
        ("37[" + DEEP + "]", Packet(PacketType.ACK, id=7)),
        ('0{"a":' + DEEP + "}", Packet(PacketType.CONNECT)),
        ('27["x",NaN]', Packet(PacketType.EVENT, id=7)),
        ('2/a,["x",{"y":[-Infinity]}]', Packet(PacketType.EVENT, "/a")),
        ('2["x",1e999]', Packet(PacketType.EVENT)),
        ('2["x",' + "9" * 5_000 + "]", Packet(PacketType.EVENT)),
        ("37[Infinity]", Packet(PacketType.ACK, id=7)),
        ('511-["x"]', Packet(PacketType.EVENT, data=["x"])),
        ('59999-7["x"]', Packet(PacketType.EVENT, data=["x"], id=7)),
        ('27["x","' + "x" * 1_000_000 + '"]', Packet(PacketType.EVENT, id=7)),
        ('27["x","' + "\u00e9" * 500_000 + '"]', Packet(PacketType.EVENT, id=7)),
        ('27["x",' + "x" * 1_000_000, Packet(PacketType.EVENT, id=7)),
    ],
)
def test_packet_over_a_limit_is_dropped_and_the_next_is_decoded(text, packet):
    decoder = Decoder()
    with pytest.raises(PacketOverLimit) as dropped:
        decoder.feed(text)
    assert dropped.value.packet == packet
    for _ in range({"511": 11, "599": 9999}.get(text[:3], 0)):
        assert decoder.feed(b"attachment") is None
    assert decoder.feed('2["y"]') == Packet(PacketType.EVENT, data=["y"])


def test_attachment_over_the_limit_drops_its_packet_alone():
    decoder = Decoder(max_size=10)
    decoder.feed('53-7["x"]')
    decoder.feed(b"0123456789")
    with pytest.raises(PacketOverLimit) as dropped:
        decoder.feed(b"0123456789a")
    assert dropped.value.packet == Packet(PacketType.EVENT, data=["x"], id=7)
    assert decoder.feed(b"third") is None
    assert decoder.feed('2["y"]') == Packet(PacketType.EVENT, data=["y"])


def test_text_among_the_attachments_of_a_dropped_packet_is_an_error():
    decoder = Decoder()
    with pytest.raises(PacketOverLimit):
        decoder.feed('511-["x"]')
    with pytest.raises(DecodeError):
        decoder.feed('2["y"]')


def test_nesting_up_to_the_limit_is_fine():
    depth = MAX_DEPTH - 1
    packet = Decoder().feed('2["x",' + "[" * depth + "]" * depth + ',"[[[[[["]')
    assert packet is not None


@pytest.mark.parametrize(
    "messages",
    [
        [b"unannounced"],
        ['51-["a"]', '2["text in between"]'],
        ['51-["a"]', b"", b"one too many"],
    ],
)
def test_attachments_that_do_not_fit(messages):
    decoder = Decoder()
    *fine, wrong = messages
    for message in fine:
        decoder.feed(message)
    with pytest.raises(DecodeError):
        decoder.feed(wrong)


def test_what_json_cannot_hold_is_a_type_error():
    with pytest.raises(TypeError):
        Packet(PacketType.EVENT, "/", ["x", object()]).encode()
