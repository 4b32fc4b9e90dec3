"""The decorator of routes that accept `Idempotency-Key`.

    @bp.post("/recipes/generate")
    @errors_as(...)
    @signed_in
    @idempotent(replies)
    @validate_request(GenerateRequest)
    @validate_response(Generated)
    async def generate(caller: Identity, data: GenerateRequest) -> Generated: ...

Place it directly below `signed_in`, whose caller it uses. A request without the header runs
normally. A replayed response has the header `Idempotency-Replayed: true`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from quart import request

from cookcam.errors import ValidationError
from cookcam.features.operations.idempotency.models import KeyedRequest, Reply
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.http import current_request_info
from cookcam.http.responses import RawResponse, json_response
from cookcam.http.route_options import route_options_of, set_route_options
from cookcam.identity import Identity

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 200
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A reply to the same request with the same key is given again.",
    "schema": {"type": "string", "maxLength": MAX_KEY_LENGTH},
}
REPLAYED = {"Idempotency-Replayed": "true"}

View = Callable[Concatenate[Identity, P], Awaitable[Any]]


def idempotent(replies: StoredReplies) -> Callable[[View[P]], View[P]]:
    """Apply `Idempotency-Key` to a view with a JSON response.

    Raises ValidationError for a key over 200 characters, and the errors of `StoredReplies.once`.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        async def repeatable(caller: Identity, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            key = request.headers.get(HEADER, "").strip()
            if not key:
                return await view(caller, *args, **kwargs)
            if len(key) > MAX_KEY_LENGTH:
                raise ValidationError.of(HEADER, f"must have at most {MAX_KEY_LENGTH} characters")

            async def run() -> RawResponse:
                result = await view(caller, *args, **kwargs)
                if isinstance(result, RawResponse):
                    return result
                return json_response(
                    *cast("Any", result if isinstance(result, tuple) else (result,))
                )

            reply = await replies.once(await _keyed(caller, key), run)
            if isinstance(reply, Reply):
                return json_response(reply.response, reply.status_code, REPLAYED)
            return reply

        return document_key(repeatable)

    return decorate


def document_key(view: F) -> F:
    """Document the request header, its conflict responses and the header of a replay."""
    options = route_options_of(view)
    repeated = ("Idempotency-Replayed", "`true` where the response is that of an earlier request.")
    return set_route_options(
        view,
        query=(*options.query, PARAMETER),
        failures=options.failures | {409},
        headers=(*options.headers, repeated),
    )


async def _keyed(caller: Identity, key: str) -> KeyedRequest:
    digest = hashlib.sha256(request.method.encode())
    for part in (
        request.path.encode(),
        request.query_string,
        bytes(await cast("Any", request).body),
    ):
        digest.update(b"%d:" % len(part) + part)
    endpoint = f"{request.method} {current_request_info().route}"
    return KeyedRequest(caller.user_id, key, endpoint, digest.hexdigest())
