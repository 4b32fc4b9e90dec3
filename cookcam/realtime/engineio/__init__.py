"""Engine.IO 4 on Trio: sessions over long-polling and WebSocket, as one ASGI app.

Standard: github.com/socketio/engine.io-protocol, revision 4, and its public test suite.
"""

from .asgi import ASGIApp, Receive, Rejected, Request, Scope, Send
from .direct import DirectExtension
from .failures import OnFailure, log_failure
from .outbox import Message
from .packets import PacketError, is_larger_than
from .server import CloseCounts, EngineServer
from .session import Session, State
from .standalone import standalone

__all__ = [
    "ASGIApp",
    "CloseCounts",
    "DirectExtension",
    "EngineServer",
    "Message",
    "OnFailure",
    "PacketError",
    "Receive",
    "Rejected",
    "Request",
    "Scope",
    "Send",
    "Session",
    "State",
    "is_larger_than",
    "log_failure",
    "standalone",
]
