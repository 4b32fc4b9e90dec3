"""ASGI extensions that connections of this server offer to an application.

An application looks for the name in `scope["extensions"]`. It must work without the extension,
which plain Hypercorn does not have.
"""

from __future__ import annotations

WEBSOCKET_PING = "cookcam.websocket.ping"
"""A WebSocket ping: `send({"type": WEBSOCKET_PING})` sends one, and each pong of the peer is
received as `{"type": WEBSOCKET_PONG}`. ASGI has no message for either."""

WEBSOCKET_PONG = "cookcam.websocket.pong"

WEBSOCKET_DIRECT = "cookcam.websocket.direct"
"""Direct writes of whole frames, for sending one frame to many peers. The extension is
`{"write": write}`; `write(frames: bytes, *, closing: bool = False) -> int` never waits, and returns
the number of accepted bytes:

- all: the kernel has them;
- some: the rest is stored and sent before anything else; the application must then send
  WEBSOCKET_FLUSH;
- none, because earlier data is still being sent, the kernel's buffer is full or the WebSocket is
  not open: the application must use `send`.

Frames have the format of RFC 6455 §5.2: unmasked, since a server sends them; without extensions;
text, binary and pings. `closing` declares that the last one is the close frame, as sent by
`websocket.close`. A WebSocket over TLS or HTTP/2, or one that compresses, does not offer it."""

WEBSOCKET_FLUSH = "cookcam.websocket.flush"
"""`send({"type": WEBSOCKET_FLUSH})` returns when the rest of a direct write has been sent."""
