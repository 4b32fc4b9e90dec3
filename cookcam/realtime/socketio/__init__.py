"""Socket.IO 5 on Trio: namespaces, events, acknowledgements, rooms, recovery.

Standard: github.com/socketio/socket.io-protocol, revision 5, and its public test suite.
"""

from .errors import ConnectionRefused, Disconnected
from .history import RecoveryOptions
from .namespace import Namespace
from .packets import DecodeError
from .server import SocketServer
from .socket import Socket

__all__ = [
    "ConnectionRefused",
    "DecodeError",
    "Disconnected",
    "Namespace",
    "RecoveryOptions",
    "Socket",
    "SocketServer",
]
