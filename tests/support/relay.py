"""A relay in front of PostgreSQL that does what the embedded build cannot: TLS, and falling silent.

The TLS is PostgreSQL's own form of it (protocol section "SSL Session Encryption"): the client asks
in eight bytes, the server answers `S`, and the handshake follows.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import trio
from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@define
class Relay:
    """`deaf`: from now on, take everything in and answer nothing."""

    _target: Path
    _tls: ssl.SSLContext | None
    port: int = 0
    deaf: bool = False
    encrypted: int = field(default=0, init=False)
    """Connections that came over TLS."""

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._relay, listeners)

    async def _relay(self, client: trio.SocketStream) -> None:
        server = await trio.open_unix_socket(self._target)
        async with server, client:
            stream: trio.abc.Stream = client
            if self._tls is not None:
                assert await client.receive_some(len(SSL_REQUEST)) == SSL_REQUEST
                await client.send_all(b"S")
                stream = trio.SSLStream(client, self._tls, server_side=True)
                await stream.do_handshake()
                self.encrypted += 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._forward, stream, server, nursery)
                nursery.start_soon(self._forward, server, stream, nursery)

    async def _forward(
        self, source: trio.abc.Stream, target: trio.abc.Stream, nursery: trio.Nursery
    ) -> None:
        try:
            while data := await source.receive_some():
                if not self.deaf:
                    await target.send_all(data)
            # A server says goodbye in TLS too; a peer that is gone already does not hear it.
            with trio.move_on_after(0.2):
                await target.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def relay_to(target: Path, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Relay]:
    """A relay to a Unix socket, on a free port of the loopback."""
    relay = Relay(target, tls)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.serve)
        yield relay
        nursery.cancel_scope.cancel()


def make_tls(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context with a certificate for localhost, and the authority that signed it."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _named("test authority")
    authority = (
        _certificate(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        _certificate(_named("localhost"), authority_name, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pair = directory / "server.pem"
    pair.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    authority_file = directory / "authority.pem"
    authority_file.write_bytes(authority.public_bytes(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    return context, authority_file


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
