"""Routes `/users/devices` for push tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from cookcam.features.messaging.notifications.device_store import DeviceStore
from cookcam.http import Routes, errors_as, validate_request, validate_response
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

MAX_TOKEN_LENGTH = 4096


class DeviceRequest(Struct):
    """A device, identified by its APNs or FCM token."""

    token: Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_LENGTH)]
    platform: Literal["ios", "android"]

    def __repr__(self) -> str:
        return f"DeviceRequest(platform={self.platform!r})"


class DeviceResponse(Struct):
    success: bool
    message: str


def routes(devices: DeviceStore) -> Routes:
    bp = Routes("devices", __name__, legacy=True)

    @bp.post("/users/devices")
    @errors_as(flagged=True, unexpected="Failed to register device")
    @signed_in
    @validate_request(DeviceRequest)
    @validate_response(DeviceResponse)
    async def register(caller: Identity, data: DeviceRequest) -> DeviceResponse:
        """Send the caller's notifications to this device, and no other user's."""
        await devices.register(caller.user_id, data.token, data.platform)
        return DeviceResponse(True, "Device registered")

    @bp.delete("/users/devices")
    @errors_as(flagged=True, unexpected="Failed to remove device")
    @signed_in
    @validate_request(DeviceRequest)
    @validate_response(DeviceResponse)
    async def remove(caller: Identity, data: DeviceRequest) -> DeviceResponse:
        """Stop sending the caller's notifications to this device."""
        await devices.remove(caller.user_id, data.token)
        return DeviceResponse(True, "Device removed")

    return bp
