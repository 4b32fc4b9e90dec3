"""The rules of completion photos (`spec/http-api-core.md` §9.14)."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import msgspec
import structlog
import trio
from attrs import frozen

from cookcam.cache import SHORT, Cache
from cookcam.errors import AppError, ForeignKeyError, InsufficientPermissions
from cookcam.features.accounts.personal_data import FOLDERS
from cookcam.features.accounts.service import PublicCards
from cookcam.features.recipes.catalogue.service import Recipes, recipe_not_found
from cookcam.features.recipes.photos.models import Photo, PhotoPage, ShownPhoto, Upload
from cookcam.features.recipes.photos.store import PhotoStore
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity
from cookcam.images import Images
from cookcam.integrations.supabase.storage import Bucket, Storage, new_key

FIT = (1920, 1080)
"""Pixels; the most that is stored (`spec/http-api-core.md` §15.1)."""

BUCKET: Bucket = "completion-photos"
REPEAT_SECONDS = SHORT
UNDO_SECONDS = 3


@frozen
class CompletionPhotos:
    store: PhotoStore
    recipes: Recipes
    cards: PublicCards
    images: Images
    storage: Storage
    xp: Xp
    cache: Cache

    async def add(
        self, cook: Identity, recipe_id: UUID, text: str, description: str | None
    ) -> Upload:
        """Takes in a photograph, base64 in `text`, of what was cooked from a recipe.

        It is drawn anew without metadata and put where everybody may look at it. The first photo
        of a recipe earns its cook XP. The same picture again within five minutes is the same
        request repeated: it gets the first one's photo, joins it if it is still under way, and
        earns nothing.

        Raises NotFound, the errors of `cookcam.images`, and those of Storage.
        """
        await self.recipes.require(cook, recipe_id)
        data = await self.images.decode(text)
        digest = await trio.to_thread.run_sync(hashlib.sha256, data)
        own: Upload | None = None

        async def produce() -> Any:
            nonlocal own
            own = await self._taken_in(cook, recipe_id, data, description)
            return msgspec.to_builtins(own.photo)

        asked = f"{cook.user_id}|{recipe_id}|{digest.hexdigest()}"
        key = hashlib.sha256(asked.encode()).hexdigest()
        kept = await self.cache.get_or("photos", key, REPEAT_SECONDS, produce)
        return own if own is not None else Upload(msgspec.convert(kept, Photo), 0)

    async def page(
        self, reader: Identity | None, recipe_id: UUID, limit: int, offset: int
    ) -> PhotoPage:
        """The photos of a recipe, newest first. Raises NotFound."""
        await self.recipes.require(reader, recipe_id)
        photos, total = await self.store.page(reader, recipe_id, limit, offset)
        cards = await self.cards.of(photo.user_id for photo in photos)
        return PhotoPage([ShownPhoto(photo, cards.get(photo.user_id)) for photo in photos], total)

    async def _taken_in(
        self, cook: Identity, recipe_id: UUID, data: bytes, description: str | None
    ) -> Upload:
        jpeg = await self.images.prepare(data, fit=FIT)
        key = new_key(FOLDERS[BUCKET], cook.user_id)
        await self.storage.put(BUCKET, key, jpeg)
        try:
            upload = await self._noted(cook, recipe_id, key, description)
        except BaseException:
            await self._remove(key)
            raise
        return upload

    async def _noted(
        self, cook: Identity, recipe_id: UUID, key: str, description: str | None
    ) -> Upload:
        """Row and XP: both or neither."""
        url = self.storage.public_url(BUCKET, key)
        try:
            async with self.store.database.transaction_as(cook) as tx:
                photo = await self.store.add(tx, cook, recipe_id, url, description)
                award = await self.xp.award(
                    tx,
                    cook.user_id,
                    "RECIPE_COMPLETION_PHOTO",
                    subject=str(recipe_id),
                    metadata={"recipe_id": str(recipe_id)},
                )
        except (ForeignKeyError, InsufficientPermissions):  # deleted or withdrawn meanwhile
            raise recipe_not_found() from None
        self.xp.announce(award)
        return Upload(photo, award.xp_gained)

    async def _remove(self, key: str) -> None:
        """A picture that no row speaks of is nobody's, so not to be left lying in public."""
        with trio.move_on_after(UNDO_SECONDS, shield=True):
            try:
                await self.storage.delete(BUCKET, [key])
            except AppError as error:
                structlog.get_logger(__name__).warning("photo is left over", code=error.code)
