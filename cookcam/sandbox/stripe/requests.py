"""Keys and idempotency of requests to the API.

Source: Stripe's pages on authentication and on idempotent requests. The
response of a request that was executed is stored under its key; that of a rejected one is not.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from hashlib import sha256

import orjson
from attrs import define, field, frozen

from cookcam.sandbox.stripe.api import Api
from cookcam.sandbox.stripe.faults import ApiFault
from cookcam.sandbox.stripe.forms import read_form

KEY_REUSED = (
    "Keys for idempotent requests can only be used with the same parameters they were first used"
    " with."
)
KEY_IN_USE = "There is currently another in-progress request using this Idempotent Key."


@frozen
class Request:
    method: str
    path: str
    query: str
    body: bytes
    headers: dict[str, str]

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("idempotency-key") if self.method == "POST" else None


@frozen
class Reply:
    status: int
    body: bytes
    headers: dict[str, str] = field(factory=dict[str, str])


def reply_of(fault: ApiFault) -> Reply:
    return Reply(fault.status, orjson.dumps(fault.body), dict(fault.headers))


@define(eq=False)
class RequestHandler:
    """Call `admit` before the request, `work` once, `leave` at the end."""

    api: Api
    only_key: str | None
    _busy: set[str] = field(factory=set[str])

    def admit(self, request: Request) -> Reply | None:
        """The stored response of an earlier request with the same key. Raises ApiFault."""
        self._check_key(request)
        name = self._name(request)
        if name is None:
            return None
        if name in self._busy:
            raise ApiFault(409, "idempotency_error", KEY_IN_USE, "idempotency_key_in_use")
        if recorded := self.api.store.find("reply", name):
            if recorded["asked"] != _digest(request):
                raise ApiFault(400, "idempotency_error", KEY_REUSED)
            headers = {"Idempotent-Replayed": "true", "Stripe-Should-Retry": "false"}
            return Reply(recorded["status"], recorded["body"].encode(), headers)
        self._busy.add(name)
        return None

    def work(self, request: Request) -> Reply:
        """Executes the request. Raises ApiFault if it is rejected."""
        account = request.headers.get("stripe-account")
        text = request.query if request.method in ("GET", "DELETE") else request.body.decode()
        form = read_form(text)
        try:
            result = self.api.answer(request.method, request.path, form, account)
            reply = Reply(200, orjson.dumps(result))
        except ApiFault as fault:
            if fault.type != "card_error":
                raise
            reply = reply_of(fault)
        if name := self._name(request):
            answered = {
                "asked": _digest(request),
                "status": reply.status,
                "body": reply.body.decode(),
            }
            self.api.store.put("reply", name, answered)
        self.api.store.flush()
        return reply

    def leave(self, request: Request) -> None:
        self._busy.discard(self._name(request) or "")

    def _name(self, request: Request) -> str | None:
        key = request.idempotency_key
        return None if key is None else f"{request.headers.get('stripe-account', '')} {key}"

    def _check_key(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = b64decode(given).decode().partition(":")[0]
            except (Base64Error, UnicodeDecodeError):
                given = ""
        if not given.strip():
            raise ApiFault(401, "invalid_request_error", "You did not provide an API key.")
        if self.only_key is not None and not hmac.compare_digest(
            given.encode(), self.only_key.encode()
        ):
            raise ApiFault(401, "invalid_request_error", "Invalid API Key provided: sk_****")


def _digest(request: Request) -> str:
    return sha256(f"{request.method} {request.path}\n".encode() + request.body).hexdigest()
