"""A client that stops reading, on a real connection with its real buffers."""

from __future__ import annotations

import trio
from trio_websocket import open_websocket_url

from cookcam.realtime.socketio import Socket, SocketServer
from tests.support.every_server import cookcam_serving

BROADCASTS = 400
BODY = "." * 64 * 1024
HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
    b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONNECT = b"\x81\x82\x00\x00\x00\x0040"


async def test_one_reader_that_stops_is_closed_and_another_misses_nothing():
    server = SocketServer(close_timeout=0.5, outbox_limit=64)
    reasons: list[str] = []

    @server.main.on_disconnect
    async def disconnect(socket: Socket, reason: str) -> None:
        reasons.append(reason)

    async with server, cookcam_serving(server) as address:
        host, port = address.split(":")
        stopped = await trio.open_tcp_stream(host, int(port))
        await stopped.send_all(HANDSHAKE)
        assert (await stopped.receive_some()).startswith(b"HTTP/1.1 101")
        await stopped.send_all(CONNECT)
        received = 0

        async def read(quick) -> None:
            nonlocal received
            while received < BROADCASTS:
                received += (await quick.get_message()).startswith('42["x"')

        async with (
            open_websocket_url(f"ws://{address}/socket.io/?EIO=4&transport=websocket") as quick,
            trio.open_nursery() as nursery,
        ):
            await quick.send_message("40")
            while len(server.sockets) < 2:
                await trio.sleep(0.01)
            nursery.start_soon(read, quick)
            for number in range(BROADCASTS):
                server.main.emit("x", number, BODY)
                while received < number - 32:  # as fast as the quick one reads
                    await trio.sleep(0.001)
        assert received == BROADCASTS
        assert reasons[0] == "slow consumer"
        await stopped.aclose()
