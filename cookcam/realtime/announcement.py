"""An event on its way out: encoded once for each protocol, whoever and how many receive it."""

from __future__ import annotations

from functools import cached_property

import orjson
from attrs import frozen

from cookcam.http.responses import to_json
from cookcam.realtime.engineio import Message
from cookcam.realtime.frames import encode_frame
from cookcam.realtime.socketio.packets import Packet, PacketType


@frozen(eq=False)
class Announcement:
    """`data` is a mapping, msgspec Struct or attrs instance; its JSON is that of the HTTP answers
    (UUIDs as text, times in UTC with `Z`).

    `volatile` says that it may be lost: when a client is slow, volatile events are the first to
    be given up. Encoding raises TypeError for what has no JSON form.
    """

    event: str
    data: object
    volatile: bool = False

    @cached_property
    def body(self) -> orjson.Fragment:
        return orjson.Fragment(to_json(self.data))

    @cached_property
    def plain(self) -> Message:
        """As a frame of the plain protocol."""
        return Message((encode_frame(self.event, self.body),), self.volatile)

    @cached_property
    def socketio(self) -> Message:
        """As a packet of the main namespace."""
        packet = Packet(PacketType.EVENT, data=[self.event, self.body])
        return Message.of(*packet.encode(), volatile=self.volatile)
