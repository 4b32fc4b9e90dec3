"""Weak ETags and conditional GET.

The tag is a digest of the response body: it saves bandwidth, not the work of the response.
Processors have instructions for SHA-256: 1 µs per kB, a quarter of the time of BLAKE2.
"""

from __future__ import annotations

from hashlib import sha256

from cookcam.http.requests import Request
from cookcam.http.responses import RawResponse


def with_etag(response: RawResponse, request: Request) -> RawResponse:
    """Add an ETag to a 200 of a GET; return a 304 when the client has that version."""
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return response
    digest = sha256(response.body, usedforsecurity=False).hexdigest()[:24]
    tag = f'W/"{len(response.body):x}-{digest}"'
    header = (b"etag", tag.encode())
    offered = request.headers.get("If-None-Match")
    if offered is not None and _matches(offered, tag):
        return RawResponse(304, [header], b"")
    return RawResponse(200, [*response.headers, header], response.body)


def _matches(offered: str, tag: str) -> bool:
    """Weak comparison: whether `tag` is in the list of tags, or the list is `*`."""
    candidates = [candidate.strip() for candidate in offered.split(",")]
    return "*" in candidates or tag in candidates or tag.removeprefix("W/") in candidates
