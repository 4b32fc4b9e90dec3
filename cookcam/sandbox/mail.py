"""A mail server that delivers nothing: it keeps what it gets and shows it on a page.

    async with open_mail() as mail:
        ...                              # a server that has `mail.bindings`
        assert mail.received[-1].subject == "New sign-in to your CookCam account"

It speaks SMTP (RFC 5321, with STARTTLS of RFC 3207 and AUTH PLAIN of RFC 4954), and the part of
Resend's API that sends a mail.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.utils import parseaddr
from functools import partial
from html import escape
from typing import Any, TypeAlias

import trio
from attrs import asdict, define, field, frozen
from quart import Response, request

from cookcam.sandbox.serving import FakeServerApp, Listener, json_response

MAX_LINE = 8_192
MAX_SIZE = 1_000_000
MAX_KEPT = 200
IDLE_TIMEOUT = 60.0  # seconds
API_KEY = "re_sandbox"

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@define
class Behaviour:
    """Settings that may be changed while the server runs.

    `recipient_reply` and `data_reply` replace the responses to RCPT and to a whole mail, such as
    `550 no such user`. With `login` (user, password), mails need AUTH. `drop_after_data` loses the
    response to a mail that it has got. `api_error` (status, name) is the response of the API to
    every mail, `api_drops` the number of accepted mails to which it responds with a 500.
    """

    recipient_reply: str | None = None
    data_reply: str | None = None
    login: tuple[str, str] | None = field(default=None, repr=False)
    drop_after_data: bool = False
    api_error: tuple[int, str] | None = None
    api_drops: int = 0


@frozen
class ReceivedMail:
    sender: str
    to: str
    message_id: str
    subject: str
    text: str
    html: str
    headers: dict[str, str]


@define(eq=False)
class FakeMail:
    """A running fake. `url` is the page; `received` are the mails, the latest last."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    behaviour: Behaviour = field(factory=Behaviour)
    received: list[ReceivedMail] = field(factory=list[ReceivedMail])
    api_sent: dict[str, bytes] = field(factory=dict[str, bytes])
    """Bodies of the requests to the API by idempotency key."""

    @property
    def api_bindings(self) -> dict[str, str]:
        """The settings that tie a server to its API instead."""
        return {"RESEND_API_URL": self.url, "RESEND_API_KEY": API_KEY}

    @property
    def bindings(self) -> dict[str, str]:
        """The settings that tie a server to it."""
        return {
            "SMTP_HOST": self.host,
            "SMTP_PORT": str(self.port),
            "SMTP_SECURITY": "none" if self.tls is None else "starttls",
        }


@asynccontextmanager
async def open_mail(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    smtp_port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[FakeMail]:
    """Serve the page on `port` and SMTP on `smtp_port` until the block ends.

    With `tls` mails need STARTTLS. Raises OSError when a port is taken.
    """
    listener = Listener.open(host, port)
    (smtp,) = await trio.open_tcp_listeners(smtp_port, host=host)
    mail = FakeMail(listener.url, host, smtp.socket.getsockname()[1], tls)
    async with listener.serving(create_app(mail)), trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, partial(_serve, mail), [smtp]))
        yield mail
        nursery.cancel_scope.cancel()


async def _serve(mail: FakeMail, stream: trio.SocketStream) -> None:
    try:
        with trio.move_on_after(IDLE_TIMEOUT):
            await _Session(mail, stream).run()
    except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


@define
class _Session:
    """One SMTP connection."""

    mail: FakeMail
    stream: Stream
    sender: str | None = None
    recipients: list[str] = field(factory=list[str])
    encrypted: bool = False
    authorized: bool = False
    _buffer: bytearray = field(factory=bytearray)

    async def run(self) -> None:
        await self._reply("220 sandbox ESMTP")
        while (line := await self._line()) is not None:
            verb, _, rest = line.decode(errors="replace").partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    await self._hello()
                case "STARTTLS" if self.mail.tls is not None and not self.encrypted:
                    await self._start_tls(self.mail.tls)
                case "AUTH":
                    await self._authorize(rest)
                case "MAIL":
                    await self._from(rest)
                case "RCPT":
                    await self._to(rest)
                case "DATA":
                    if not await self._data():
                        return
                case "RSET":
                    self._reset()
                    await self._reply("250 ok")
                case "NOOP":
                    await self._reply("250 ok")
                case "QUIT":
                    await self._reply("221 bye")
                    return
                case _:
                    await self._reply("502 not implemented")

    async def _hello(self) -> None:
        offers = ["SIZE 1000000", "8BITMIME", "SMTPUTF8", "AUTH PLAIN"]
        if self.mail.tls is not None and not self.encrypted:
            offers[-1] = "STARTTLS"  # no password before the encryption
        lines = ["sandbox", *offers]
        marks = ["-"] * (len(lines) - 1) + [" "]
        for mark, line in zip(marks, lines, strict=True):
            await self._reply(f"250{mark}{line}")

    async def _start_tls(self, tls: ssl.SSLContext) -> None:
        await self._reply("220 ready")
        assert isinstance(self.stream, trio.SocketStream)  # noqa: S101 - not encrypted yet
        self.stream = trio.SSLStream(self.stream, tls, server_side=True)
        self._buffer.clear()
        self.encrypted = True
        self._reset()

    async def _authorize(self, rest: str) -> None:
        mechanism, _, encoded = rest.partition(" ")
        if mechanism.upper() != "PLAIN":
            await self._reply("504 unknown mechanism")
            return
        if not encoded:
            await self._reply("334 ")
            encoded = (await self._line() or b"").decode()
        try:
            _, user, password = base64.b64decode(encoded, validate=True).decode().split("\0")
        except ValueError:
            await self._reply("501 malformed")
            return
        self.authorized = self.mail.behaviour.login in (None, (user, password))
        await self._reply("235 ok" if self.authorized else "535 authentication failed")

    async def _from(self, rest: str) -> None:
        behaviour = self.mail.behaviour
        if self.mail.tls is not None and not self.encrypted:
            await self._reply("530 must issue STARTTLS first")
        elif behaviour.login is not None and not self.authorized:
            await self._reply("530 authentication required")
        elif match := re.match(r"FROM:\s*<([^>]*)>", rest, re.IGNORECASE):
            self._reset()
            self.sender = match[1]
            await self._reply("250 ok")
        else:
            await self._reply("501 malformed")

    async def _to(self, rest: str) -> None:
        match = re.match(r"TO:\s*<([^>]+)>", rest, re.IGNORECASE)
        if self.sender is None:
            await self._reply("503 no sender")
        elif match is None:
            await self._reply("501 malformed")
        elif self.mail.behaviour.recipient_reply is not None:
            await self._reply(self.mail.behaviour.recipient_reply)
        else:
            self.recipients.append(match[1])
            await self._reply("250 ok")

    async def _data(self) -> bool:
        """Returns False when the connection ends."""
        if not self.recipients:
            await self._reply("503 no recipient")
            return True
        await self._reply("354 end with a dot")
        lines: list[bytes] = []
        size = 0
        while (line := await self._line()) != b".":
            if line is None or size > MAX_SIZE:
                return False
            lines.append(line.removeprefix(b"."))
            size += len(line)
        if self.mail.behaviour.data_reply is not None:
            await self._reply(self.mail.behaviour.data_reply)
        else:
            self._keep(b"\r\n".join(lines))
            if self.mail.behaviour.drop_after_data:
                return False
            await self._reply("250 accepted")
        self._reset()
        return True

    def _keep(self, content: bytes) -> None:
        message = message_from_bytes(content, policy=policy.default)
        parts = {kind: message.get_body((kind,)) for kind in ("plain", "html")}
        texts = {kind: part.get_content() if part else "" for kind, part in parts.items()}
        for recipient in self.recipients:
            self.mail.received.append(
                ReceivedMail(
                    self.sender or "",
                    recipient,
                    str(message["Message-ID"]),
                    str(message["Subject"]),
                    texts["plain"],
                    texts["html"],
                    {name: str(value) for name, value in message.items()},
                )
            )
        del self.mail.received[:-MAX_KEPT]

    def _reset(self) -> None:
        self.sender = None
        self.recipients.clear()

    async def _reply(self, text: str) -> None:
        await self.stream.send_all(f"{text}\r\n".encode())

    async def _line(self) -> bytes | None:
        """The next line without its end; None when the client is gone or the line too long."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            chunk = await self.stream.receive_some()
            if not chunk or len(self._buffer) > MAX_LINE:
                return None
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def create_app(mail: FakeMail) -> FakeServerApp:
    app = FakeServerApp("cookcam.sandbox.mail")

    @app.get("/")
    async def inbox() -> Response:
        """All mails, the latest first. HTML parts run no scripts and load nothing."""
        items = "".join(_shown(one) for one in reversed(mail.received))
        page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mails</title>
<meta http-equiv="refresh" content="10">
<style>body {{ font-family: sans-serif; max-width: 50em; margin: 2em auto }}
iframe {{ width: 100%; height: 20em; border: 1px solid #ccc }}
pre {{ white-space: pre-wrap; background: #f4f4f4; padding: 1em }}</style></head>
<body><h1>Mails</h1>{items or "<p>None yet.</p>"}</body></html>"""
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(page, content_type="text/html; charset=utf-8", headers=headers)

    @app.get("/_sandbox/mails")
    async def mails() -> Response:
        """The same as JSON."""
        return json_response([asdict(one) for one in reversed(mail.received)])

    @app.post("/emails")
    async def send() -> Response:
        """Resend's API: one mail for each idempotency key."""
        body = bytes(await request.body)
        key = request.headers.get("Idempotency-Key", "")
        error = mail.behaviour.api_error
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            error = (403, "invalid_api_key")
        elif key in mail.api_sent and mail.api_sent[key] != body:
            error = (409, "invalid_idempotent_request")
        if error is not None:
            status, name = error
            return json_response({"statusCode": status, "name": name, "message": "-"}, status)
        if key not in mail.api_sent:
            mail.api_sent[key] = body
            _keep_from_api(mail, json.loads(body), key)
        if mail.behaviour.api_drops:
            mail.behaviour.api_drops -= 1
            return json_response({"statusCode": 500, "name": "application_error"}, 500)
        return json_response({"id": key})

    return app


def _keep_from_api(mail: FakeMail, given: dict[str, Any], key: str) -> None:
    for recipient in given["to"]:
        mail.received.append(
            ReceivedMail(
                parseaddr(given["from"])[1],
                recipient,
                key,
                given["subject"],
                given["text"],
                given["html"],
                given["headers"],
            )
        )
    del mail.received[:-MAX_KEPT]


def _shown(one: ReceivedMail) -> str:
    return f"""<h2>{escape(one.subject)}</h2>
<p>to {escape(one.to)}, from {escape(one.sender)}</p>
<pre>{escape(one.text)}</pre>
<iframe sandbox srcdoc="{escape(one.html)}"></iframe>"""
