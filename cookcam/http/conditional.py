"""Weak ETags and conditional GET: an answer the client already has is not sent again.

Source: `spec/http-api-core.md` §2. The tag is made from the bytes of the answer, so it saves the
way over the network and not the work.
"""

from __future__ import annotations

from hashlib import blake2b

from cookcam.http.requests import Request
from cookcam.http.responses import RawResponse


def with_etag(answer: RawResponse, request: Request) -> RawResponse:
    """A 200 to a GET gets an ETag, and is a 304 without a body when the client has that one."""
    if answer.status != 200 or request.method not in ("GET", "HEAD"):
        return answer
    digest = blake2b(answer.body, digest_size=12).hexdigest()
    tag = f'W/"{len(answer.body):x}-{digest}"'
    header = (b"etag", tag.encode())
    offered = request.headers.get("If-None-Match")
    if offered is not None and _has(offered, tag):
        return RawResponse(304, [header], b"")
    return RawResponse(200, [*answer.headers, header], answer.body)


def _has(offered: str, tag: str) -> bool:
    """Weak comparison: whether `tag` is in the list of tags, or any tag will do."""
    candidates = [candidate.strip() for candidate in offered.split(",")]
    return "*" in candidates or tag in candidates or tag.removeprefix("W/") in candidates
