"""Reads HTTP/1.1 requests strictly: the head with llhttp, the body's framing here.

llhttp (httptools) parses header fields in its strict mode. The request line is matched here as
well, because llhttp accepts more than RFC 9112 §3 allows: empty lines before it, several spaces in
it, control characters in the target. Bodies are framed here, because httptools cannot stop at the
end of a message, and a pipelined request must wait until its predecessor is answered.

tests/serving/test_parity.py compares the accepted requests with those of h11; docs/serving.md lists
the differences.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

MAX_LENGTH_DIGITS: Final = 20
"""Digits of a 64-bit Content-Length. `int` refuses more than 4,300, leading zeros included."""
MAX_CHUNK_LINE: Final = 256
"""Maximum bytes of a chunk's size and extensions; no client of this server sends extensions."""

_REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])\r\n")
_HOST = re.compile(
    # RFC 3986 §3.2.2: an address in brackets, or a name, which may be percent-encoded.
    rb"(?P<name>\[[0-9A-Fa-f:.]+\]|(?:[-0-9A-Za-z._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
    rb"(?::[0-9]{0,5})?"
)
_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?]*)(.*)")
_FIELD = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
# Sixteen digits are a 64-bit number.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_KNOWN_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_INTERPRETED = frozenset(
    {
        *(b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"),
        b"x-forwarded-for",
    }
)


class MalformedRequest(Exception):
    """A request that is answered with `status` and ends its connection. The text describes the
    fault and contains no data of the peer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RequestHead:
    """Request line and header fields; names in lower case, values without surrounding spaces."""

    __slots__ = (
        "expects_continue",
        "headers",
        "is_chunked",
        "is_forwarded",
        "keep_alive",
        "length",
        "method",
        "target",
        "upgrades",
        "version",
    )

    def __init__(self, method: bytes, target: bytes, version: bytes) -> None:
        self.method = method
        self.target = target
        self.version = version
        """b"1.0" or b"1.1"."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.length = 0
        """Content-Length; 0 where there is none."""
        self.is_chunked = False
        self.keep_alive = version == b"1.1"
        self.expects_continue = False
        self.is_forwarded = False
        """The request has an `X-Forwarded-For` field."""
        self.upgrades = False
        """The request has an `Upgrade` field."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools for each field."""
        self.headers.append((name.lower(), value.strip(b" \t")))

    def interpret(self) -> None:
        """Sets what follows from the fields. Raises MalformedRequest."""
        hosts = 0
        has_length = False
        for name, value in self.headers:
            if name not in _INTERPRETED:
                continue
            if name == b"host":
                hosts += 1
                if not is_host(value):
                    raise MalformedRequest(400, "illegal Host")
            elif name == b"content-length":
                if has_length or not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
                    raise MalformedRequest(400, "bad Content-Length")
                has_length = True
                self.length = int(value)
            elif name == b"transfer-encoding":
                if self.is_chunked or value.lower() != b"chunked":
                    raise MalformedRequest(501, "transfer coding other than chunked")
                self.is_chunked = True
                self.headers[self.headers.index((name, value))] = (name, b"chunked")
            elif name == b"connection":
                if b"close" in _members(value):
                    self.keep_alive = False
            elif name == b"expect":
                if self.version == b"1.1" and b"100-continue" in _members(value):
                    self.expects_continue = True
            elif name == b"upgrade":
                self.upgrades = True
            else:
                self.is_forwarded = True
        if hosts > 1 or (not hosts and self.version == b"1.1"):
            raise MalformedRequest(400, "no Host or several")
        # RFC 9112 §6.1: if a proxy and a server parse such a framing differently, one request
        # hides another.
        if self.is_chunked and (has_length or self.version == b"1.0"):
            raise MalformedRequest(400, "ambiguous framing")


def is_host(value: bytes) -> bool:
    """Whether `value` is a host with an optional port (RFC 9110 §7.2), or empty."""
    return _HOST.fullmatch(value) is not None


def _members(value: bytes) -> list[bytes]:
    return [member.strip() for member in value.lower().split(b",")]


def parse_head(data: bytes) -> RequestHead:
    """Parses a request's head, with the empty line that ends it. Raises MalformedRequest."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise MalformedRequest(400, "illegal request line")
    method, target, version = line.groups()
    if version not in (b"1.1", b"1.0"):
        raise MalformedRequest(505, "unsupported HTTP version")  # RFC 9110 §15.6.6
    if method == b"CONNECT":
        raise MalformedRequest(501, "CONNECT")  # RFC 9110 §9.3.6: this server is not a proxy
    if method != method.upper():
        raise MalformedRequest(501, "unknown method")  # RFC 9110 §9.1: methods are case-sensitive
    head = RequestHead(method, _origin_form(target), version)
    if method not in _KNOWN_METHODS:
        # llhttp has a fixed list of methods; the application answers those it does not know.
        data = b"GET" + data[len(method) :]
    try:
        httptools.HttpRequestParser(head).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the head asks for an upgrade, and is complete
    except httptools.HttpParserError as error:
        is_unknown_coding = any(
            name == b"transfer-encoding" and value.lower() != b"chunked"
            for name, value in head.headers
        )
        raise MalformedRequest(501 if is_unknown_coding else 400, _reason(error)) from error
    head.interpret()
    return head


def _origin_form(target: bytes) -> bytes:
    """Path and query of a target in absolute form (RFC 9112 §3.2.2); any other stays as it is.
    Raises MalformedRequest for an absolute form without a valid host (RFC 9110 §4.2.1)."""
    if target.startswith(b"/"):
        return target
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        return target
    authority, path = match.groups()
    host = _HOST.fullmatch(authority)
    if host is None or not host["name"]:
        raise MalformedRequest(400, "illegal authority")
    return path if path.startswith(b"/") else b"/" + path


def _reason(error: httptools.HttpParserError) -> str:
    """llhttp's description, without the part of the request that httptools quotes after a colon."""
    return str(error).partition(":")[0]


class ChunkedBody:
    """Decodes one chunked body (RFC 9112 §7.1). Extensions and trailers are checked and dropped."""

    __slots__ = ("_is_chunk_end", "_is_trailers", "_left", "_max_trailers")

    def __init__(self, max_trailers: int) -> None:
        self._left = 0
        self._is_chunk_end = False
        self._is_trailers = False
        self._max_trailers = max_trailers

    def decode(self, received: bytes) -> tuple[bytes, bytes, bool]:
        """Decodes the complete parts of `received`. Returns the data, the undecoded rest (to be
        passed again with later data), and whether the body is complete. Raises MalformedRequest."""
        parts: list[bytes] = []
        position, size = 0, len(received)
        is_complete = False
        while position < size:
            if self._left:
                part = received[position : position + self._left]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
                self._is_chunk_end = not self._left
            elif self._is_chunk_end:
                end = received[position : position + 2]
                if end == b"\r\n":
                    self._is_chunk_end = False
                    position += 2
                elif end == b"\r":
                    break
                else:
                    raise MalformedRequest(400, "illegal end of a chunk")
            elif self._is_trailers:
                length = self._trailers_length(received, position)
                if length:
                    position += length
                    is_complete = True
                break
            else:
                end_of_line = received.find(b"\r\n", position, position + MAX_CHUNK_LINE + 2)
                if end_of_line < 0:
                    if size - position > MAX_CHUNK_LINE:
                        raise MalformedRequest(400, "chunk header too long")
                    break
                line = _CHUNK_LINE.fullmatch(received, position, end_of_line)
                if line is None:
                    raise MalformedRequest(400, "illegal chunk header")
                self._left = int(line[1], 16)
                self._is_trailers = not self._left
                position = end_of_line + 2
        return b"".join(parts), received[position:], is_complete

    def _trailers_length(self, received: bytes, start: int) -> int:
        """The number of bytes up to the end of the body, 0 while it is incomplete."""
        if received.startswith(b"\r\n", start):
            return 2
        end = received.find(b"\r\n\r\n", start)
        if (end if end >= 0 else len(received)) - start > self._max_trailers:
            raise MalformedRequest(431, "trailers too large")
        if end < 0:
            return 0
        for field in received[start:end].split(b"\r\n"):
            if not _FIELD.fullmatch(field):
                raise MalformedRequest(400, "illegal trailer")
        return end + 4 - start
