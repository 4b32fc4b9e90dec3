"""What our connections offer an application beyond ASGI, as extensions of a scope.

An application looks for the name in `scope["extensions"]` and does without where it is missing,
as under plain Hypercorn.
"""

from __future__ import annotations

WEBSOCKET_PING = "cookcam.websocket.ping"
"""A WebSocket ping: `send({"type": WEBSOCKET_PING})` sends one, and each pong of the peer is
received as `{"type": WEBSOCKET_PONG}`. ASGI has no message for either."""

WEBSOCKET_PONG = "cookcam.websocket.pong"
