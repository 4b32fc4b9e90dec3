"""What our connections offer an application beyond ASGI, as extensions of a scope.

An application looks for the name in `scope["extensions"]` and does without where it is missing,
as under plain Hypercorn.
"""

from __future__ import annotations

WEBSOCKET_PING = "cookcam.websocket.ping"
"""A WebSocket ping: `send({"type": WEBSOCKET_PING})` sends one, and each pong of the peer is
received as `{"type": WEBSOCKET_PONG}`. ASGI has no message for either."""

WEBSOCKET_PONG = "cookcam.websocket.pong"

WEBSOCKET_DIRECT = "cookcam.websocket.direct"
"""Whole frames, written to the peer at once: for one frame that goes to many. The extension is
`{"write": write}`; `write(frames: bytes, *, closing: bool = False) -> int` never waits, and returns
how many bytes it took:

- all of them: the kernel has them;
- some: the rest is kept and goes out before anything else, at the latest by WEBSOCKET_FLUSH, which
  the application has to send then;
- none, because something else is on its way still, the kernel is full or the WebSocket is not
  open: `send` is the way.

Frames are as RFC 6455 §5.2 has them: of a server, so not masked; without extensions; text, binary
and pings. `closing` says that the last of them is the close frame, as `websocket.close` would have
sent it. A WebSocket over TLS or HTTP/2, or one that compresses, does not offer it."""

WEBSOCKET_FLUSH = "cookcam.websocket.flush"
"""`send({"type": WEBSOCKET_FLUSH})` returns when the rest of what was written directly is out."""
