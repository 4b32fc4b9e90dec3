"""What is sent to a device, and what may become of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol

from attrs import field, frozen

PushProvider = Literal["fcm", "apns"]


@frozen
class PushMessage:
    """One notification. A device that gets the same `id` twice shows it once.

    `data` is for the app: type, action and perhaps urgency. After `expires_at` (UTC) it is of no
    use, and the provider discards it.
    """

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
class Outcome:
    """The provider's last word on one device.

    `gone`: the token is of no device of ours, now and later. `refused`: not this message. `reason`
    is the provider's code; it has neither token nor text.
    """

    verdict: Literal["sent", "gone", "refused"]
    reason: str = ""


SENT = Outcome("sent")


class PushService(Protocol):
    """Raises StoreUnavailable (503) while the provider does not answer in spite of the policy's
    repeats, and StoreMisconfigured (also 503) where it refuses our key: try again later.
    """

    async def send(self, token: str, message: PushMessage) -> Outcome: ...
