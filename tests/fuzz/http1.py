"""Random requests to two HTTP/1.1 parsers: Hypercorn's, which is h11, and ours, which is llhttp.

    .venv/bin/python -m tests.fuzz.http1 --minutes 10 [--seed 1]

Each input is a few pipelined requests, damaged or not, cut into parts at random. Both protocols get
it without a socket in between, and the requests and the responses are compared.
Ours may reject what h11 accepts, for a reason in EXPLAINED, which the input has to show. Whatever
else differs is unexplained: it is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio
import trio.testing
from attrs import define, field, frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from cookcam.lifecycle.work import Work
from cookcam.serving.http1 import HTTP1
from cookcam.serving.observer import NoObserver
from cookcam.serving.request_parser import MAX_CHUNK_LINE, MalformedRequest, _origin_form
from cookcam.serving.server import protocol_config
from cookcam.serving.tasks import RequestTasks
from tests.support.serving import error_body

MAX_HEAD: Final = 16 * 1024

EXPLAINED: Final = {
    "a folded header line": re.compile(rb"\n[ \t]"),
    "a control character": re.compile(rb"[\x01-\x08\x0b-\x0c\x0e-\x1f\x7f]"),
    "Content-Length repeated, or a list": re.compile(
        rb"(?is)\ncontent-length:[^\n]*(,|\ncontent-length:|\n.*\ncontent-length:)"
    ),
    "Content-Length above 64 bits": re.compile(rb"(?i)\ncontent-length:[ \t]*[0-9]{20}"),
    "a transfer coding and a length, or in HTTP/1.0": re.compile(
        rb"(?is)transfer-encoding:.*\ncontent-length:|content-length:.*\ntransfer-encoding:"
        rb"|HTTP/1\.0\r\n.*transfer-encoding:"
    ),
    "another version than 1.0 and 1.1": re.compile(rb"HTTP/(?!1\.[01]\r\n)[0-9]\.[0-9]\r\n"),
    "CONNECT": re.compile(rb"CONNECT "),
    "a method in lower case": re.compile(rb"\n[^ \r\n]*[a-z][^ \r\n]* [^ \r\n]+ HTTP/"),
    "a Host that is none": re.compile(
        rb"(?i)\nhost:(?![ \t]*[-0-9a-z._~]*(:[0-9]{0,5})?[ \t]*\r\n)"
    ),
    "a target in none of the forms of RFC 9112": re.compile(
        rb" (?!/|\*|[A-Za-z]+://[^ ])[\x21-\x7e]+ HTTP/|://[/?#@:%]"
        rb"|[A-Za-z]+://[^/ ]*[^A-Za-z0-9.:/ ][^ ]* HTTP/"
    ),
    "a head above 16 KiB that arrived at once": re.compile(rb"(?s).{%d}" % MAX_HEAD),
    "a chunk header with spaces at its end, or too long": re.compile(
        rb"\n[0-9A-Fa-f]{17}|\n[0-9A-Fa-f]+(;[^\n]*)?[ \t]+\r\n|\n[0-9A-Fa-f]+;[^\n]{%d}"
        % (MAX_CHUNK_LINE - 20)
    ),
    "an upgrade to HTTP/2 without TLS": re.compile(rb"(?i)upgrade:[ \t]*h2c|PRI "),
    "a line that does not end in CRLF": re.compile(rb"(?<!\r)\n|\r(?!\n)"),
}
"""Why ours may reject what h11 accepts → what the input has then. docs/serving.md explains them."""

FAULT: Final = 0.06
"""How often one element of an input is not the ordinary one."""
METHODS: Final = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"BREW", b"get", b"PRI", b"CONNECT")
TARGETS: Final = (
    *(b"/", b"/a?b=c", b"/%00", b"*", b"http://test/a", b"HTTP://u@test:80?x", b"a:1", b"?x"),
    *(b"/\xc3\xa9", b"//a/../b", b'/a|b"<>^`{}', b"/#f", b"http://[::1]/", b"/a b", b"", b"/\x7f"),
)
VERSIONS: Final = (
    *(b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/11"),
    *(b"http/1.1", b"HTTP/1.1 ", b" HTTP/1.1", b""),
)
HEADERS: Final = (
    *(
        b"Host: test",
        b"host:test",
        b"Host:",
        b"Host : test",
        b"Host: a b",
        b"Host: a/b",
        b"X-A: b",
        b"X-A:  b \t",
        b"X-Empty:",
    ),
    *(b"Content-Length: 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5"),
    *(b"Content-Length: 5 5", b"Content-Length:", b"Content-Length: 99999999999999999999"),
    *(b"Content-Length: -1", b"Content-Length: 005", b"Content_Length: 7", b"Content-Length : 5"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: gzip"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, chunked"),
    *(b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked", b"transfer-encoding:"),
    *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked;q=1", b"TE: trailers"),
    *(b"Connection: close", b"Connection: Keep-Alive", b"Connection: x, CLOSE", b"Connection:"),
    *(b"Expect: 100-continue", b"Expect: 100-Continue, x", b"Expect: other"),
    *(b"Upgrade: h2c", b"Connection: upgrade", b"Upgrade: x", b" folded", b"no colon", b": empty"),
    *(b"X: \x01", b"X: \xff", b"X: a\x00b", b"X\xe9: a", b'X": a', b"X: " + b"y" * 17_000, b""),
)
LINE_ENDS: Final = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n ", b"\r\n\t")
CHUNK_LINES: Final = (
    *(b"%X", b"0%x", b"%x;a=b", b'%x;a="b c"', b"%x ", b"%x\t", b" %x"),
    *(
        b"%x;",
        b"%x ;a",
        b"0x%x",
        b"+%x",
        b"-%x",
        b"%x\n",
        b"%x;a\rb",
        b"%x;\x00",
        b"1" * 21 + b"%x",
    ),
    *(b"00000000000000000%x", b"%x;" + b"e" * 300, b"%x,", b"ffffffffffffffff%x", b""),
)
TRAILERS: Final = (b"X: y\r\n", b"bad\r\n", b"X: y\n", b" folded\r\n", b"X : y\r\n")
NOISE: Final = (b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"0", b"\xff", b"\x0b", b";", b"G")


def random_request(rng: random.Random) -> bytes:
    def usually(ordinary: bytes, *others: bytes, fault: float = FAULT) -> bytes:
        return rng.choice(others) if rng.random() < fault else ordinary

    def crlf() -> bytes:
        return usually(b"\r\n", *LINE_ENDS, fault=FAULT / 20)

    method, target = usually(b"POST", *METHODS, fault=0.5), usually(b"/ok", *TARGETS, fault=0.2)
    lines = [b" ".join((method, target, usually(b"HTTP/1.1", *VERSIONS)))]
    lines.append(usually(b"Host: test", b"X: y"))
    if rng.random() < 0.3:
        lines += rng.sample(HEADERS, rng.randint(1, 2))
    body = b""
    kind = rng.random()
    if kind < 0.3:
        body = bytes(rng.choices(b"abc\r\n ", k=rng.randrange(12)))
        size = max(0, len(body) + (rng.choice((-1, 1)) if rng.random() < FAULT else 0))
        lines.append(b"Content-Length: %d" % size)
    elif kind < 0.6:
        lines.append(b"Transfer-Encoding: chunked")
        for _ in range(rng.randrange(4)):
            data = bytes(rng.choices(b"abc\r\n", k=rng.randrange(1, 20)))
            line = usually(b"%x", *CHUNK_LINES, fault=0.1)
            body += line.replace(b"%x", b"%x" % len(data)).replace(b"%X", b"%X" % len(data))
            body += crlf() + data + crlf()
        body += b"0" + crlf() + usually(b"", *TRAILERS) + crlf()
    return b"".join(line + crlf() for line in lines) + crlf() + body


def random_input(rng: random.Random) -> list[bytes]:
    """Parts of one connection's bytes."""
    data = b"".join(random_request(rng) for _ in range(rng.randint(1, 3)))
    while rng.random() < FAULT:
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.choice(NOISE) + data[at + rng.randrange(3) :]
    if rng.random() < FAULT:
        data = b"\r\n" + data
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 0, 0, 1, 2, 5))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


@define
class Exchange:
    """What one protocol made of an input."""

    requests: list[Any] = field(factory=list[Any])
    """(method, target, headers, body) of each request that was complete."""
    sent: bytes = b""
    is_closed: bool = False
    upgraded: bool = False
    skipped: list[int] = field(factory=list[int])
    """Where an empty line before a request was ignored."""

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = scope["raw_path"] + b"?" + scope["query_string"]
        self.requests.append((scope["method"], target, scope["headers"], body))
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    @property
    def statuses(self) -> list[int]:
        """Without 100: h11 sends it also to a client whose body has arrived."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5][0-9]{2}) ", self.sent)]

    @property
    def is_rejected(self) -> bool:
        return any(status >= 400 for status in self.statuses)

    @property
    def outcome(self) -> Any:
        """What has to agree: any status of a rejection is as good as another."""
        statuses = [min(status, 400) for status in self.statuses]
        return self.requests, statuses, self.is_closed


async def run_protocol(make: Callable[[Exchange, Any, Any], Any], parts: list[bytes]) -> Exchange:
    """Hands the parts and the end of the stream to a protocol."""
    exchange = Exchange()

    async def send(event: Any) -> None:
        if isinstance(event, RawData) and not exchange.is_closed:
            exchange.sent += event.data
        elif isinstance(event, Closed):
            exchange.is_closed = True
            await protocol.handle(Closed())

    async def receive(part: bytes) -> None:
        nonlocal is_blocked
        is_blocked = True
        try:
            await protocol.handle(RawData(part))
        except (H2CProtocolRequiredError, H2ProtocolAssumedError):
            exchange.upgraded = True
        is_blocked = False

    is_blocked = False
    async with trio.open_nursery() as nursery, make_tasks(make) as tasks:
        protocol = make(exchange, tasks, send)
        for part in [*parts, b""]:
            nursery.start_soon(receive, part)
            await trio.testing.wait_all_tasks_blocked()
            # The reader waits for nothing that can still happen: a server would cancel it.
            if exchange.is_closed or exchange.upgraded or is_blocked:
                break
        nursery.cancel_scope.cancel()
    return exchange


def make_tasks(make: Any) -> Any:
    return RequestTasks(Work(), NoObserver()) if make is ours else TaskGroup()


def theirs(exchange: Exchange, tasks: Any, send: Any) -> H11Protocol:
    config = Config()
    config.accesslog = config.errorlog = None
    return H11Protocol(
        *(ASGIWrapper(exchange.app), config, WorkerContext(None), tasks, ConnectionState({})),
        *(False, None, None, send),
    )


class _Ours(HTTP1):
    """Records which empty lines it ignores."""

    exchange: Exchange
    received = 0

    async def handle(self, event: Any) -> None:
        if isinstance(event, RawData):
            self.received += len(event.data)
        await super().handle(event)

    def _take_head(self) -> Any:
        position, had_skipped = self.received - len(self._buffer), self._has_skipped_line
        head = super()._take_head()
        if self._has_skipped_line and not had_skipped:
            self.exchange.skipped.append(position)
        return head


def ours(exchange: Exchange, tasks: Any, send: Any) -> HTTP1:
    protocol = _Ours(
        *(exchange.app, protocol_config(keep_alive_seconds=75), WorkerContext(None)),
        *(tasks, ConnectionState({}), None, None, send),
        is_tls=False,
        is_draining=lambda: False,
        error_body=error_body,
        observer=NoObserver(),
        write=None,
    )
    protocol.exchange = exchange
    return protocol


def explain(parts: list[bytes], expected: Exchange, found: Exchange) -> str | None:
    """The reason for a difference, "" where there is none, None for an unexplained one."""
    for number, (method, target, headers, body) in enumerate(expected.requests):
        path, _, query = target.partition(b"?")
        with suppress(MalformedRequest):
            target = _origin_form(path + b"?" + query if query else path)
        path, _, query = target.partition(b"?")
        expected.requests[number] = (method, path + b"?" + query, headers, body)
    if expected.outcome == found.outcome and not expected.upgraded:
        return ""
    count = len(found.requests)
    is_stricter = found.requests == expected.requests[:count] and (
        found.is_rejected or expected.upgraded
    )
    data = b"\n" + b"".join(parts)
    if _is_response_kept(data, expected, found):
        return "data after the last request"
    if not is_stricter and not expected.upgraded:
        return None
    return next((reason for reason, shape in EXPLAINED.items() if shape.search(data)), None)


def _is_response_kept(data: bytes, expected: Exchange, found: Exchange) -> bool:
    """h11 rejects what follows a request that ends its connection, which may have been passed on;
    ours responds to that request and drops the rest (RFC 9112 §9.6)."""
    count = len(expected.requests)
    return (
        re.search(rb"(?i)\nconnection:[^\n]*close|HTTP/1\.0", data) is not None
        and expected.is_rejected
        and found.is_closed
        and not found.is_rejected
        and found.requests[:count] == expected.requests
        and len(found.requests) - count <= 1
        and expected.statuses[:-1] == found.statuses[: len(expected.statuses) - 1]
    )


def _without(data: bytes, lines: list[int]) -> bytes:
    for position in reversed(lines):
        data = data[:position] + data[position + 2 :]
    return data


@frozen
class Result:
    inputs: int
    accepted: int
    """Requests that both parsers passed on."""
    explained: Counter[str]
    unexplained: list[tuple[list[bytes], Exchange, Exchange]]


async def compare(inputs: int | None, minutes: float, seed: int) -> Result:
    """Runs that many inputs, or for that long."""
    rng = random.Random(seed)
    until = time.monotonic() + minutes * 60
    done = accepted = 0
    explained: Counter[str] = Counter()
    unexplained: list[tuple[list[bytes], Exchange, Exchange]] = []
    while done < inputs if inputs is not None else time.monotonic() < until:
        parts = random_input(rng)
        expected, found = await run_protocol(theirs, parts), await run_protocol(ours, parts)
        reason = explain(parts, expected, found)
        if reason is None and found.skipped:
            # RFC 9112 §2.2: h11 rejects an empty line, and must agree on the rest.
            parts = [_without(b"".join(parts), found.skipped)]
            reason = explain(parts, await run_protocol(theirs, parts), found)
            reason = "an empty line before a request" if reason == "" else reason
        done += 1
        accepted += len(found.requests)
        if reason is None:
            unexplained.append((parts, expected, found))
        elif reason:
            explained[reason] += 1
    return Result(done, accepted, explained, unexplained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--inputs", type=int, help="this many instead of a time")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = trio.run(compare, options.inputs, options.minutes, options.seed)
    for parts, expected, found in result.unexplained[:20]:
        print(f"UNEXPLAINED {parts!r}\n  h11  {expected!r}\n  ours {found!r}")
    for reason, count in result.explained.most_common():
        print(f"{count:8} {reason}")
    print(
        f"{result.inputs} inputs, {result.accepted} requests accepted by both, "
        f"{result.explained.total()} explained differences, {len(result.unexplained)} unexplained"
    )
    sys.exit(bool(result.unexplained))


if __name__ == "__main__":
    main()
