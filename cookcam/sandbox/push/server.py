"""The stand-in on a listener, and the handle that tests and the sandbox hold on it."""

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
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.listening import Listener
from cookcam.sandbox.push.keys import ACCOUNT, KEY_ID, PROJECT, TEAM_ID, Keys

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TOPIC = "com.cookcam.app"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_FCM_TOKEN = re.compile(r"[A-Za-z0-9:_-]{1,4096}")
_APNS_TOKEN = re.compile(r"[0-9A-Fa-f]{64,200}")


@define
class Behaviour:
    """What a test may change while the stand-in runs.

    While `failures` is above 0, sending is answered with `status` and counts it down. `delay` is in
    seconds. Tokens of ours that are in `revoked` are no longer taken.
    """

    delay: float = 0.0
    failures: int = 0
    status: int = 503
    retry_after: int | None = None
    revoked: set[str] = field(factory=set[str], repr=False)
    requests: list[str] = field(factory=list[str], repr=False)


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
    """A running stand-in. `gone` are the tokens of devices that the app was removed from."""

    url: str
    keys: Keys = field(repr=False)
    behaviour: Behaviour
    gone: set[str] = field(factory=set[str])
    sent: list[Sent] = field(factory=list[Sent])
    access_tokens: list[str] = field(factory=list[str], repr=False)

    @property
    def service_account(self) -> str:
        """What `FCM_SERVICE_ACCOUNT_KEY` has to be."""
        return self.keys.service_account(f"{self.url}/token")

    @property
    def bindings(self) -> dict[str, str]:
        """The settings that tie a server to it, but for `service_account` and `keys.p8`."""
        return {
            "FCM_API_URL": self.url,
            "APNS_URL": self.url,
            "APNS_KEY_ID": KEY_ID,
            "APNS_TEAM_ID": TEAM_ID,
        }


@asynccontextmanager
async def open_push(
    *, host: str = "127.0.0.1", port: int = 0, keys: Keys | None = None
) -> AsyncGenerator[FakePush]:
    """Serves the stand-in until the block ends; it answers when the block begins.

    Raises OSError when the port is taken.
    """
    listener = Listener.open(host, port)
    keys = keys or await trio.to_thread.run_sync(Keys.make)
    fake = FakePush(listener.url, keys, Behaviour())
    async with listener.serving(create_app(fake)):
        yield fake


def create_app(fake: FakePush) -> QuartTrio:
    app = QuartTrio("cookcam.sandbox.push")
    behaviour = fake.behaviour

    @app.before_request
    async def trouble() -> Response | None:
        if request.path.startswith("/_sandbox/"):
            return None
        behaviour.requests.append(f"{request.method} {request.path}")
        if behaviour.delay:
            await trio.sleep(behaviour.delay)
        if behaviour.failures > 0 and request.path != "/token":
            behaviour.failures -= 1
            failed = Response("upstream trouble", status=behaviour.status)
            if behaviour.retry_after is not None:
                failed.headers["Retry-After"] = str(behaviour.retry_after)
            return failed
        return None

    _fcm(app, fake)
    _apns(app, fake)
    _control(app, fake)
    return app


def _fcm(app: QuartTrio, fake: FakePush) -> None:
    def refusal(status: int, name: str, *details: dict[str, Any]) -> Response:
        error = {"code": status, "message": name, "status": name, "details": details}
        return _json({"error": error}, status)

    def code(name: str) -> dict[str, Any]:
        return {"@type": FCM_ERROR, "errorCode": name}

    @app.post("/token")
    async def token() -> Response:
        if not _is_assertion(fake, str((await cast("Any", request).form)["assertion"])):
            return _json({"error": "invalid_grant"}, 400)
        fake.access_tokens.append(f"ya29.{uuid4().hex}")
        granted = {"access_token": fake.access_tokens[-1], "expires_in": 3599}
        return _json({**granted, "token_type": "Bearer"})

    @app.post("/v1/projects/<project>/messages:send")
    async def send_by_fcm(project: str) -> Response:
        given = _bearer()
        if given not in fake.access_tokens or given in fake.behaviour.revoked:
            return refusal(401, "UNAUTHENTICATED")
        if project != PROJECT:
            return refusal(403, "PERMISSION_DENIED", code("SENDER_ID_MISMATCH"))
        message = orjson.loads(await request.get_data())["message"]
        token = message["token"]
        if not _FCM_TOKEN.fullmatch(token):
            violation = {"field": "message.token", "description": "Invalid registration token"}
            wrong = {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [violation],
            }
            return refusal(400, "INVALID_ARGUMENT", code("INVALID_ARGUMENT"), wrong)
        if token in fake.gone:
            return refusal(404, "NOT_FOUND", code("UNREGISTERED"))
        android, shown = message["android"], message["notification"]
        _keep(
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
        return _json({"name": f"projects/{project}/messages/{uuid4().hex}"})


def _apns(app: QuartTrio, fake: FakePush) -> None:
    def refusal(status: int, reason: str, **more: Any) -> Response:
        return _json({"reason": reason, **more}, status)

    @app.post("/3/device/<token>")
    async def send_by_apns(token: str) -> Response:
        if request.http_version != "2":
            return Response("HTTP/2 only\n", status=505)
        given = _bearer()
        if given in fake.behaviour.revoked:
            return refusal(403, "ExpiredProviderToken")
        if not _is_provider_token(fake, given):
            return refusal(403, "InvalidProviderToken")
        if request.headers.get("apns-topic") != TOPIC:
            return refusal(400, "DeviceTokenNotForTopic")
        if not _APNS_TOKEN.fullmatch(token):
            return refusal(400, "BadDeviceToken")
        if token in fake.gone:
            return refusal(410, "Unregistered", timestamp=int(time.time() * 1000))
        payload = orjson.loads(await request.get_data())
        aps = payload.pop("aps")
        _keep(
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


def _control(app: QuartTrio, fake: FakePush) -> None:
    """For a stand-in in a process of its own."""

    @app.get("/_sandbox/sent")
    async def sent() -> Response:
        """What devices got, newest first."""
        return _json([asdict(one) for one in reversed(fake.sent)])

    @app.post("/_sandbox/gone")
    async def gone() -> Response:
        """`{token}`: the app is removed from that device."""
        fake.gone.add(str(orjson.loads(await request.get_data())["token"]))
        return Response(status=204)


KEPT = 1000


def _keep(fake: FakePush, sent: Sent) -> None:
    fake.sent.append(sent)
    del fake.sent[:-KEPT]


def _is_assertion(fake: FakePush, assertion: str) -> bool:
    import jwt

    try:
        claims = jwt.decode(
            assertion,
            fake.keys.account.public_key(),
            algorithms=["RS256"],
            audience=f"{fake.url}/token",
            issuer=ACCOUNT,
        )
    except jwt.PyJWTError:
        return False
    return claims["scope"] == SCOPE and claims["exp"] - claims["iat"] <= 3600


def _is_provider_token(fake: FakePush, token: str) -> bool:
    """Whether it is signed with our key, names it and its team, and is not older than an hour."""
    import jwt

    try:
        claims = jwt.decode(
            token, fake.keys.apns.public_key(), algorithms=["ES256"], issuer=TEAM_ID
        )
        known = jwt.get_unverified_header(token).get("kid") == KEY_ID
    except jwt.PyJWTError:
        return False
    return known and time.time() - claims["iat"] < 3600


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")
