"""A fake of Expo's push service, Firebase Cloud Messaging and APNs, on one port.

It records what is sent.

    async with open_push() as push:
        ...                              # a server that has `push.bindings`
        push.gone.add(token)             # the app was removed from that device
        assert push.sent[-1].title == "What's cooking today?"

Sources: Expo's "Send notifications with Expo's Push API", Google's reference of FCM HTTP v1,
Apple's documentation of APNs with tokens. APNs speaks HTTP/2 alone, and so does the fake: without
TLS, with prior knowledge.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import orjson
import trio
from attrs import asdict, define, field, frozen
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from quart import Response, request

from cookcam.sandbox.keys import ServiceAccount, new_rsa_key, pem_of, verified_claims
from cookcam.sandbox.serving import FakeServerApp, HttpFaults, Listener, bearer_token, json_response

PROJECT = "cookcam-sandbox"
SERVICE_ACCOUNT = ServiceAccount(
    "firebase-adminsdk@sandbox.iam.gserviceaccount.com",
    PROJECT,
    "https://www.googleapis.com/auth/firebase.messaging",
)
KEY_ID, TEAM_ID = "SANDBOXAPN", "SANDBOXTEA"
TOPIC = "com.cookcam.app"
MAX_SENT = 1000
"""Notifications that are kept."""
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_EXPO_TOKEN = re.compile(r"Expo(?:nent)?PushToken\[(?:([^\[\]:]+):)?[^\[\]]+\]")
"""Real tokens do not show their project; here a text before a colon names another one."""
_FCM_TOKEN = re.compile(r"[A-Za-z0-9:_-]{1,4096}")
_APNS_TOKEN = re.compile(r"[0-9A-Fa-f]{64,200}")


@frozen
class Keys:
    """The key of Google's service account, and the one for APNs."""

    account: rsa.RSAPrivateKey = field(repr=False)
    apns: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        return cls(new_rsa_key(), ec.generate_private_key(ec.SECP256R1()))

    def service_account(self, token_uri: str) -> str:
        return SERVICE_ACCOUNT.key_file(self.account, token_uri)

    @property
    def p8(self) -> str:
        """The text of the key file that Apple issues."""
        return pem_of(self.apns)


@define
class Behaviour(HttpFaults):
    """Faults concern sending, not the token endpoint. Tokens of the server in `revoked` are
    rejected. With `expo_access_token`, Expo requires it (enhanced push security)."""

    expo_access_token: str | None = field(default=None, repr=False)
    revoked: set[str] = field(factory=set[str], repr=False)

    def may_fail(self, path: str) -> bool:
        return path != "/token"


@frozen
class Sent:
    """A notification that a device got. `collapse`: one of the same replaces it there."""

    provider: str
    token: str
    title: str
    body: str
    data: dict[str, str]
    sound: str
    urgent: bool
    collapse: str
    at: float


@define(eq=False)
class FakePush:
    """A running fake. `gone` are the tokens of devices that the app was removed from; Expo knows it
    of those in `gone_later` only in the receipt. `receipts` are Expo's, by ticket.
    """

    url: str
    keys: Keys = field(repr=False)
    behaviour: Behaviour
    gone: set[str] = field(factory=set[str])
    gone_later: set[str] = field(factory=set[str])
    receipts: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]])
    sent: list[Sent] = field(factory=list[Sent])
    access_tokens: list[str] = field(factory=list[str], repr=False)

    @property
    def service_account(self) -> str:
        """The value of `FCM_SERVICE_ACCOUNT_KEY`."""
        return self.keys.service_account(f"{self.url}/token")

    @property
    def bindings(self) -> dict[str, str]:
        """The settings that tie a server to it, but for `service_account` and `keys.p8`."""
        return {
            "EXPO_PUSH_URL": self.url,
            "FCM_API_URL": self.url,
            "APNS_URL": self.url,
            "APNS_KEY_ID": KEY_ID,
            "APNS_TEAM_ID": TEAM_ID,
        }


@asynccontextmanager
async def open_push(
    *, host: str = "127.0.0.1", port: int = 0, keys: Keys | None = None
) -> AsyncGenerator[FakePush]:
    """Serve the fake until the block ends; it is ready when the block begins.

    Raises OSError when the port is taken.
    """
    listener = Listener.open(host, port)
    keys = keys or await trio.to_thread.run_sync(Keys.make)
    fake = FakePush(listener.url, keys, Behaviour())
    async with listener.serving(create_app(fake)):
        yield fake


def create_app(fake: FakePush) -> FakeServerApp:
    app = FakeServerApp("cookcam.sandbox.push")
    fake.behaviour.apply_to(app)
    _expo(app, fake)
    _fcm(app, fake)
    _apns(app, fake)
    _control(app, fake)
    return app


def _expo(app: FakeServerApp, fake: FakePush) -> None:
    def rejection(status: int, code: str) -> Response:
        return json_response({"errors": [{"code": code, "message": code}]}, status)

    def dead(token: str) -> dict[str, Any]:
        message = f'"{token}" is not a registered push notification recipient'
        return {
            "status": "error",
            "message": message,
            "details": {"error": "DeviceNotRegistered", "expoPushToken": token},
        }

    def ticket_of(message: dict[str, Any]) -> dict[str, Any]:
        token, ticket = message["to"], str(uuid4())
        if token in fake.gone_later:
            fake.receipts[ticket] = dead(token)
        else:
            fake.receipts[ticket] = {"status": "ok"}
            _record(
                fake,
                Sent(
                    "expo",
                    token,
                    message["title"],
                    message["body"],
                    message["data"],
                    message["sound"],
                    message["priority"] == "high",
                    message["data"].get("notification_id", ""),
                    time.time(),
                ),
            )
        return {"status": "ok", "id": ticket}

    def is_authorized() -> bool:
        return fake.behaviour.expo_access_token in (None, bearer_token())

    @app.post("/--/api/v2/push/send")
    async def send_by_expo() -> Response:
        if not is_authorized():
            return rejection(401, "UNAUTHORIZED")
        body: Any = orjson.loads(await request.get_data())
        is_batch = isinstance(body, list)
        messages = cast("list[dict[str, Any]]", body if is_batch else [body])
        if len(messages) > 100:
            return rejection(400, "PUSH_TOO_MANY_NOTIFICATIONS")
        matches = [_EXPO_TOKEN.fullmatch(message.get("to", "")) for message in messages]
        if any(not (message.get("title") or message.get("body")) for message in messages):
            return rejection(400, "VALIDATION_ERROR")
        if len({match[1] for match in matches if match}) > 1:
            return rejection(400, "PUSH_TOO_MANY_EXPERIENCE_IDS")
        tickets = [
            ticket_of(message) if match and message["to"] not in fake.gone else dead(message["to"])
            for match, message in zip(matches, messages, strict=True)
        ]
        return json_response({"data": tickets if is_batch else tickets[0]})

    @app.post("/--/api/v2/push/getReceipts")
    async def receipts() -> Response:
        if not is_authorized():
            return rejection(401, "UNAUTHORIZED")
        ids = orjson.loads(await request.get_data())["ids"]
        if len(ids) > 1000:
            return rejection(400, "PUSH_TOO_MANY_RECEIPTS")
        return json_response({"data": {i: fake.receipts[i] for i in ids if i in fake.receipts}})


def _fcm(app: FakeServerApp, fake: FakePush) -> None:
    def rejection(status: int, name: str, *details: dict[str, Any]) -> Response:
        error = {"code": status, "message": name, "status": name, "details": details}
        return json_response({"error": error}, status)

    def code(name: str) -> dict[str, Any]:
        return {"@type": FCM_ERROR, "errorCode": name}

    SERVICE_ACCOUNT.include_token_endpoint(
        app, lambda: [fake.keys.account], f"{fake.url}/token", fake.access_tokens
    )

    @app.post("/v1/projects/<project>/messages:send")
    async def send_by_fcm(project: str) -> Response:
        given = bearer_token()
        if given not in fake.access_tokens or given in fake.behaviour.revoked:
            return rejection(401, "UNAUTHENTICATED")
        if project != PROJECT:
            return rejection(403, "PERMISSION_DENIED", code("SENDER_ID_MISMATCH"))
        message = orjson.loads(await request.get_data())["message"]
        token = message["token"]
        if not _FCM_TOKEN.fullmatch(token):
            violation = {"field": "message.token", "description": "Invalid registration token"}
            wrong = {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [violation],
            }
            return rejection(400, "INVALID_ARGUMENT", code("INVALID_ARGUMENT"), wrong)
        if token in fake.gone:
            return rejection(404, "NOT_FOUND", code("UNREGISTERED"))
        android, shown = message["android"], message["notification"]
        _record(
            fake,
            Sent(
                "fcm",
                token,
                shown["title"],
                shown["body"],
                message["data"],
                android["notification"]["sound"],
                android["priority"] == "HIGH",
                android["notification"]["tag"],
                time.time(),
            ),
        )
        return json_response({"name": f"projects/{project}/messages/{uuid4().hex}"})


def _apns(app: FakeServerApp, fake: FakePush) -> None:
    def rejection(status: int, reason: str, **more: Any) -> Response:
        return json_response({"reason": reason, **more}, status)

    @app.post("/3/device/<token>")
    async def send_by_apns(token: str) -> Response:
        if request.http_version != "2":
            return Response("HTTP/2 only\n", status=505)
        given = bearer_token()
        if given in fake.behaviour.revoked:
            return rejection(403, "ExpiredProviderToken")
        if not _is_provider_token(fake, given):
            return rejection(403, "InvalidProviderToken")
        if request.headers.get("apns-topic") != TOPIC:
            return rejection(400, "DeviceTokenNotForTopic")
        if not _APNS_TOKEN.fullmatch(token):
            return rejection(400, "BadDeviceToken")
        if token in fake.gone:
            return rejection(410, "Unregistered", timestamp=int(time.time() * 1000))
        payload = orjson.loads(await request.get_data())
        aps = payload.pop("aps")
        _record(
            fake,
            Sent(
                "apns",
                token,
                aps["alert"]["title"],
                aps["alert"]["body"],
                payload,
                aps["sound"],
                request.headers.get("apns-priority") == "10",
                request.headers["apns-collapse-id"],
                time.time(),
            ),
        )
        return Response("", status=200, headers={"apns-id": str(uuid4()).upper()})


def _control(app: FakeServerApp, fake: FakePush) -> None:
    """For a fake in a process of its own."""

    @app.get("/_sandbox/sent")
    async def sent() -> Response:
        """The notifications that devices got, newest first."""
        return json_response([asdict(one) for one in reversed(fake.sent)])

    @app.post("/_sandbox/gone")
    async def gone() -> Response:
        """`{token}`: the app is removed from that device."""
        fake.gone.add(str(orjson.loads(await request.get_data())["token"]))
        return Response(status=204)


def _record(fake: FakePush, sent: Sent) -> None:
    fake.sent.append(sent)
    del fake.sent[:-MAX_SENT]


def _is_provider_token(fake: FakePush, token: str) -> bool:
    """Whether the APNs key signed it less than an hour ago, and it names the key and its team."""
    import jwt

    key = fake.keys.apns.public_key()
    claims = verified_claims(token, key, "ES256", issuer=TEAM_ID)
    if claims is None or time.time() - claims["iat"] >= 3600:
        return False
    return jwt.get_unverified_header(token).get("kid") == KEY_ID
