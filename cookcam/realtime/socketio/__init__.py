"""Socket.IO 5 on Trio: namespaces, events, acknowledgements, rooms, recovery.

Standard: github.com/socketio/socket.io-protocol, revision 5, and its public test suite.
"""

from cookcam.realtime.replay import RecoveryOptions

from .namespace import NO_ACK, Namespace
from .packets import DecodeError, PacketOverLimit, RejectedJson
from .server import SocketServer
from .socket import ConnectionRejected, Disconnected, Socket

__all__ = [
    "NO_ACK",
    "ConnectionRejected",
    "DecodeError",
    "Disconnected",
    "Namespace",
    "PacketOverLimit",
    "RecoveryOptions",
    "RejectedJson",
    "Socket",
    "SocketServer",
]
