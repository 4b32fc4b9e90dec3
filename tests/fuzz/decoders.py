"""Whatever arrives is decoded or refused: the decoders of the live channel against bad input.

    python -m tests.fuzz.decoders --inputs 1000000

Most inputs are good ones that were damaged, none to three times; the rest are put together from
the pieces of the protocols, or are noise. A decoder may raise its one declared error. Any
other is printed with its input and makes the exit status 1, and so does an input that takes
more than `--slowest` milliseconds. The same seed gives the same inputs.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import click
from attrs import define, field, frozen

from cookcam.json_parsing import JsonTooDeep
from cookcam.realtime.engineio.packets import (
    Packet,
    PacketError,
    decode_frame,
    decode_payload,
    encode_payload,
)
from cookcam.realtime.frames import InvalidFrame, MalformedFrame, is_too_large
from cookcam.realtime.frames import decode_frame as decode_plain
from cookcam.realtime.socketio.packets import DecodeError, Decoder, PacketOverLimit

Input = str | bytes | list[str | bytes]
"""A frame, or what one client sends in a row."""

PIECES: Final = (
    *"0123456",
    *'{}[]",:-/ \x1e\0b',
    *(
        "42",
        "43",
        "44",
        "40",
        "41",
        "451-",
        "4510-",
        "46",
        "2probe",
        "5",
        "/admin,",
        "9" * 15,
        "1e999",
    ),
    *('["x"', ',{"a":1}]', '{"token":"t"}', '{"_placeholder":true,"num":0}', "null", "true", "-1"),
    *('{"event":"x"', ',"data":{}', ',"id":7}', '"id":"' + "i" * 65 + '"}', '"event":null'),
    *(
        "\\u0000",
        "\\ud800",
        "\ud800",
        "\U0001f958",
        "\ufeff",
        "NaN",
        "[" * 70,
        '{"a":' * 70,
        "]" * 70,
    ),
    *("AA==", "bAA==", "b!", "connect", "disconnect", "__proto__", "=" * 5),
)
PACKETS: Final[Sequence[str]] = (
    '42["join_cooking_session",{"sessionId":"session_x"}]',
    '4212["cooking_session_message",{"sessionId":"s","message":"h\\u00e9"}]',
    '42/admin,7["x",[1,2.5,null,{"a":[]}]]',
    '451-["x",{"_placeholder":true,"num":0}]',
    '462-/admin,13[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
    '40{"token":"t","pid":"p","offset":"e.1"}',
    "40/admin,",
    "41",
    '437[{"ok":true}]',
    '44{"message":"no"}',
    "2probe",
    "3",
)
PLAIN_FRAMES: Final[Sequence[str]] = (
    '{"event":"join_cooking_session","data":{"sessionId":"session_x"},"id":"7"}',
    '{"event":"authenticate","data":{"token":"t"}}',
    '{"event":"ping","id":9007199254740993}',
)


@frozen
class Target:
    """A decoder, the inputs it takes, and what it may raise."""

    name: str
    decode: Callable[[Input], object]
    declared: tuple[type[Exception], ...]
    make: Callable[[random.Random], Input]


@define
class Result:
    """`decoded` and `refused` count inputs by target; `failures` are those of no declared kind."""

    decoded: Counter[str] = field(factory=Counter[str])
    rejected: Counter[str] = field(factory=Counter[str])
    failures: list[tuple[str, Input, Exception]] = field(factory=list)
    slowest: tuple[float, str, Input] = (0.0, "", "")
    """Seconds of CPU, and which it was."""


def text(rng: random.Random, seeds: Sequence[str] = PACKETS) -> str:
    """A message in text: a good one, damaged up to three times, one of pieces, or noise."""
    kind = rng.random()
    if kind < 0.6:
        good = rng.choice(seeds).replace('"x"', json.dumps(value(rng)), rng.random() < 0.5)
        return damaged(rng, good)
    if kind < 0.9:
        return "".join(rng.choices(PIECES, k=rng.randint(0, 12)))
    return "".join(chr(rng.randrange(0xD800)) for _ in range(rng.randint(0, 40)))


def value(rng: random.Random, depth: int = 0) -> Any:
    """A value that JSON can hold."""
    kind = rng.randrange(7 if depth < 4 else 5)
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    if kind == 6:
        return {rng.choice(PIECES): value(rng, depth + 1) for _ in range(rng.randint(0, 4))}
    return (None, True, rng.randint(-(2**70), 2**70), rng.gauss(0, 1e300), rng.choice(PIECES))[kind]


def damaged(rng: random.Random, seed: str) -> str:
    """With up to three places cut, doubled, turned round or replaced."""
    for _ in range(rng.randint(0, 3)):
        start = rng.randint(0, len(seed))
        end = min(len(seed), start + rng.randint(0, 8))
        middle = rng.choice(("", seed[start:end] * 2, seed[start:end][::-1], rng.choice(PIECES)))
        seed = seed[:start] + middle + seed[end:]
    return seed


def payload(rng: random.Random) -> bytes:
    """The body of a POST: several packets, and then perhaps a byte of it changed."""
    frames = [
        text(rng) if rng.random() < 0.8 else rng.randbytes(rng.randint(0, 20))
        for _ in range(rng.randint(0, 4))
    ]
    body = bytearray(encode_payload([clean(frame) for frame in frames]))
    while body and rng.random() < 0.4:
        body[rng.randrange(len(body))] = rng.randrange(256)
    return bytes(body)


def clean(frame: str | bytes) -> str | bytes:
    """Without halves of surrogate pairs, which nothing that is UTF-8 can hold."""
    return frame.encode("utf-8", "replace").decode() if isinstance(frame, str) else frame


def conversation(rng: random.Random) -> list[str | bytes]:
    """What one session sends: a packet or two, each perhaps with attachments, as many as it
    announces or not. Engine.IO has taken its own digit away."""
    messages: list[str | bytes] = []
    for _ in range(rng.randint(1, 2)):
        packet = text(rng).removeprefix("4")
        messages.append(packet)
        announced = (
            int(packet[1]) if packet[:1] in "56" and packet[1:2] in tuple("0123456789") else 0
        )
        attachments = max(0, announced + rng.choice((0, 0, 0, 1, -1)))
        messages.extend(rng.randbytes(rng.randint(0, 20)) for _ in range(attachments))
    return messages


def of_one_session(messages: Input) -> object:
    decoder = Decoder()
    assert isinstance(messages, list)
    return [decoder.feed(message) for message in messages]


def of_a_payload(body: Input) -> list[Packet]:
    assert isinstance(body, bytes)
    return decode_payload(body)


def of_a_frame(frame: Input) -> Packet:
    assert not isinstance(frame, list)
    return decode_frame(frame)


def of_a_plain_frame(frame: Input) -> object:
    assert isinstance(frame, str)
    return None if is_too_large(frame) else decode_plain(frame)


def plain_text(rng: random.Random) -> str:
    """What a WebSocket library hands on: text that was UTF-8."""
    return str(clean(text(rng, PLAIN_FRAMES)))


TARGETS: Final = (
    Target("engine.io payload", of_a_payload, (PacketError,), payload),
    Target("engine.io frame", of_a_frame, (PacketError,), text),
    Target("socket.io packets", of_one_session, (DecodeError, PacketOverLimit), conversation),
    Target(
        "plain frame", of_a_plain_frame, (MalformedFrame, InvalidFrame, JsonTooDeep), plain_text
    ),
)


def inputs(rng: random.Random, count: int) -> Iterator[tuple[Target, Input]]:
    for number in range(count):
        target = TARGETS[number % len(TARGETS)]
        yield target, target.make(rng)


def run(count: int, seed: int) -> Result:
    """Feeds so many inputs, in turn to each decoder."""
    result = Result()
    for target, given in inputs(random.Random(seed), count):
        began = time.thread_time()
        try:
            target.decode(given)
            result.decoded[target.name] += 1
        except target.declared:
            result.rejected[target.name] += 1
        except Exception as error:
            result.failures.append((target.name, given, error))
        took = time.thread_time() - began
        if took > result.slowest[0]:
            result.slowest = (took, target.name, given)
    return result


@click.command(help=__doc__)
@click.option("--inputs", "count", default=1_000_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--slowest", default=100.0, show_default=True, help="milliseconds of CPU")
def main(count: int, seed: int, slowest: float) -> None:
    began = time.perf_counter()
    result = run(count, seed)
    for target in TARGETS:
        decoded, rejected = result.decoded[target.name], result.rejected[target.name]
        click.echo(f"{target.name:20} decoded {decoded:>9,} refused {rejected:>9,}")
    took, name, given = result.slowest
    click.echo(f"{count:,} inputs in {time.perf_counter() - began:.0f} s, seed {seed}")
    click.echo(f"slowest {took * 1000:.1f} ms: {name} {given!r:.100}")
    for name, given, error in result.failures[:20]:
        click.echo(f"{name}: {error!r} for {given!r}", err=True)
    sys.exit(bool(result.failures) or took * 1000 > slowest)


if __name__ == "__main__":
    main()
