"""Push notifications and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Literal, Protocol

from attrs import field, frozen

PushProvider = Literal["expo", "fcm", "apns"]


@frozen
class PushMessage:
    """A notification for the device with `token`, which shows one with the same `id` once.

    `data` is for the app: type, action and optionally urgency. The provider discards it after
    `expires_at` (UTC).
    """

    token: str = field(repr=False)
    id: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    data: Mapping[str, str] = field(repr=False)
    sound: str
    expires_at: datetime

    @property
    def urgent(self) -> bool:
        return self.data.get("urgency") == "high"


@frozen
class PushResult:
    """The provider's result for one device.

    `gone`: the token is invalid for good. `refused`: the message was rejected. `reason` is the
    provider's code; it contains neither token nor text. `ticket` is the id of the receipt, from a
    provider that reports later what became of the message.
    """

    verdict: Literal["sent", "gone", "refused"]
    reason: str = ""
    ticket: str = ""


SENT = PushResult("sent")


class PushService(Protocol):
    """A provider of pushes. `send` takes up to `max_batch` messages and returns their results in
    order.

    Raises ProviderUnavailable (503) when the provider does not respond after all attempts, and
    ProviderMisconfigured (also 503) when it rejects our key.
    """

    max_batch: ClassVar[int]

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[PushResult]: ...
