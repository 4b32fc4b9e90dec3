"""Push notifications and their results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol

from attrs import field, frozen

PushProvider = Literal["fcm", "apns"]


@frozen
class PushMessage:
    """A notification. A device that receives the same `id` twice shows it once.

    `data` is for the app: type, action and optionally urgency. The provider discards it after
    `expires_at` (UTC).
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
class PushResult:
    """The provider's result for one device.

    `gone`: the token is invalid for good. `refused`: the message was rejected. `reason` is the
    provider's code; it contains neither token nor text.
    """

    verdict: Literal["sent", "gone", "refused"]
    reason: str = ""


SENT = PushResult("sent")


class PushService(Protocol):
    """Raises ProviderUnavailable (503) when the provider does not respond after all attempts, and
    ProviderMisconfigured (also 503) when it rejects our key.
    """

    async def send(self, token: str, message: PushMessage) -> PushResult: ...
