"""An event from the server, encoded once for each protocol however many clients receive it."""

from __future__ import annotations

from functools import cached_property

import orjson
from attrs import frozen

from cookcam.http.responses import to_json
from cookcam.realtime.engineio import Message
from cookcam.realtime.frames import encode_frame
from cookcam.realtime.socketio.packets import Packet, PacketType


@frozen(eq=False, slots=False)
class ServerEvent:
    """`data` is a mapping, msgspec Struct or attrs instance, encoded like an HTTP response (UUIDs
    as text, times in UTC with `Z`). Encoding raises TypeError for other data.

    A volatile event may be dropped, and is dropped first when a client is slow. `offset` is the
    event's position in the replay buffer, sent to Socket.IO clients as the last argument.
    """

    event: str
    data: object
    volatile: bool = False
    offset: str | None = None

    @cached_property
    def body(self) -> orjson.Fragment:
        return orjson.Fragment(to_json(self.data))

    @cached_property
    def plain(self) -> Message:
        """A frame of the plain protocol."""
        return Message((encode_frame(self.event, self.body),), self.volatile)

    @cached_property
    def socketio(self) -> Message:
        """A packet of the main namespace."""
        offset = () if self.offset is None else (self.offset,)
        packet = Packet(PacketType.EVENT, data=[self.event, self.body, *offset])
        return Message.of(*packet.encode(), volatile=self.volatile)
