"""Recovery: a Socket.IO client that drops and returns gets what the hub sent it meanwhile.

The history is that of the Socket.IO namespace (`socketio/history.py`); here is what the hub has to
do with it. An event for many is encoded once more for all recoverable clients together, with the
same offset for each; a client that did not ask for recovery receives what it always did, and while
nobody who did is here or expected back nothing is kept. Volatile events are not kept, as in the
reference.

The names in the history: a room of the hub by its own name, a user by `user_name`, a connection by
its id.
"""

from __future__ import annotations

from functools import cached_property
from uuid import UUID

from attrs import define, field, frozen

from cookcam.realtime.announcement import Announcement
from cookcam.realtime.engineio import Message
from cookcam.realtime.hub import user_name
from cookcam.realtime.socketio import Namespace
from cookcam.realtime.socketio.history import History
from cookcam.realtime.socketio.packets import Packet, PacketType


@frozen(eq=False)
class Recoverable(Announcement):
    """An announcement as recoverable clients get it: the last argument is its offset."""

    offset: str = field(kw_only=True)

    @cached_property
    def socketio(self) -> Message:
        packet = Packet(PacketType.EVENT, data=[self.event, self.body, self.offset])
        return Message.of(*packet.encode())


@define(eq=False)
class Recall:
    """The `Memory` of a hub, for those who may come back to one namespace."""

    _namespace: Namespace
    _history: History

    def keep(self, announcement: Announcement, to: str | None, *skip: str) -> Recoverable | None:
        """The announcement for recoverable clients, kept for those who are away; None when it may
        be lost, or there is nobody to keep it for. `to` None is everybody."""
        if announcement.volatile or isinstance(announcement, Recoverable):
            return None
        if not self._namespace.recoverable and not self._history.expects_anybody():
            return None
        kept = Recoverable(
            announcement.event, announcement.body, offset=self._history.next_offset()
        )
        self._history.keep(kept.socketio, to, skip)
        return kept

    def left(self, room: str, user_id: UUID) -> None:
        """The user was taken out of a room: what is away of it has to start anew, so that the
        client does not believe itself where it is not."""
        self._history.give_up(room, user_name(user_id))
