"""Engine.IO 4 on Trio: sessions over long-polling and WebSocket, as one ASGI app.

Standard: github.com/socketio/engine.io-protocol, revision 4, and its public test suite.
"""

from .asgi import ASGIApp, Receive, Request, Scope, Send
from .outbox import Message
from .packets import PacketError, is_larger_than
from .rejections import Rejected
from .server import EngineServer, Goodbyes
from .session import Session, State
from .standalone import standalone

__all__ = [
    "ASGIApp",
    "EngineServer",
    "Goodbyes",
    "Message",
    "PacketError",
    "Receive",
    "Rejected",
    "Request",
    "Scope",
    "Send",
    "Session",
    "State",
    "is_larger_than",
    "standalone",
]
