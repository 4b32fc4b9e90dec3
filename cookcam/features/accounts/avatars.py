"""Profile photos."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from cookcam.errors import AppError
from cookcam.features.accounts.models import Profile, ProfileChanges
from cookcam.features.accounts.personal_data import FOLDERS
from cookcam.features.accounts.service import Profiles
from cookcam.identity import Identity
from cookcam.images import Images
from cookcam.integrations.supabase.storage import Storage, new_key

MAX_DIMENSIONS: Final = (1920, 1080)


@frozen
class Avatars:
    profiles: Profiles
    images: Images
    storage: Storage

    async def replace(self, caller: Identity, photo: bytes) -> Profile:
        """Store a new photo, delete the previous file and return the profile.

        Raises WrongImageType, ImageTooLarge, InvalidImage, and ServiceUnavailable without storage.
        """
        before = await self.profiles.of(caller)
        jpeg = await self.images.prepare(photo, fit=MAX_DIMENSIONS)
        key = new_key(FOLDERS["avatars"], caller.user_id)
        url = self.storage.public_url("avatars", key)
        await self.storage.put("avatars", key, jpeg)
        try:
            after = await self.profiles.change(caller, ProfileChanges(avatar_url=url))
        except AppError:
            # The commit may have succeeded although its response was lost.
            if (await self.profiles.of(caller)).avatar_url != url:
                await self.storage.discard("avatars", key)
            raise
        old = self._own_key(caller, before.avatar_url)
        if old is not None:
            await self.storage.discard("avatars", old)
        return after

    def _own_key(self, caller: Identity, url: str | None) -> str | None:
        """The storage key of a URL of our own; None for a URL that the user supplied."""
        folder = f"{FOLDERS['avatars']}/{caller.user_id}/"
        start = self.storage.public_url("avatars", folder)
        if url is None or not url.startswith(start) or "/" in url[len(start) :]:
            return None
        return folder + url[len(start) :]
