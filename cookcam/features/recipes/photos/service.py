"""The rules of completion photos."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import msgspec
import trio
from attrs import frozen

from cookcam.cache import SHORT, Cache
from cookcam.errors import ForeignKeyError, InsufficientPermissions
from cookcam.features.accounts.personal_data import FOLDERS
from cookcam.features.accounts.service import PublicCards
from cookcam.features.recipes.catalogue.service import Recipes, recipe_not_found
from cookcam.features.recipes.photos.models import PhotoPage, PhotoUpload, PhotoView, RecipePhotoRow
from cookcam.features.recipes.photos.store import PhotoStore
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity
from cookcam.images import Images
from cookcam.integrations.supabase.storage import Bucket, Storage, new_key

FIT = (1920, 1080)
"""Maximum width and height of stored photos, in pixels."""

BUCKET: Bucket = "completion-photos"
REPEAT_SECONDS = SHORT


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
    ) -> PhotoUpload:
        """Store a photograph of a cooked recipe; `text` is base64.

        The image is re-encoded without metadata and stored in a public bucket. The first photo of
        a recipe earns XP. The same image within five minutes is a repeated request: it returns the
        first photo, even of a running request, and awards no XP.

        Raises NotFound, the errors of `cookcam.images`, and those of Storage.
        """
        await self.recipes.require(cook, recipe_id)
        data = await self.images.decode(text)
        digest = await trio.to_thread.run_sync(hashlib.sha256, data)
        own: PhotoUpload | None = None

        async def produce() -> Any:
            nonlocal own
            own = await self._store(cook, recipe_id, data, description)
            return msgspec.to_builtins(own.photo)

        identity = f"{cook.user_id}|{recipe_id}|{digest.hexdigest()}"
        key = hashlib.sha256(identity.encode()).hexdigest()
        cached = await self.cache.get_or("photos", key, REPEAT_SECONDS, produce)
        return own if own is not None else PhotoUpload(msgspec.convert(cached, RecipePhotoRow), 0)

    async def page(
        self, reader: Identity | None, recipe_id: UUID, limit: int, offset: int
    ) -> PhotoPage:
        """The photos of a recipe, newest first. Raises NotFound."""
        await self.recipes.require(reader, recipe_id)
        photos, total = await self.store.page(reader, recipe_id, limit, offset)
        cards = await self.cards.of(photo.user_id for photo in photos)
        return PhotoPage([PhotoView(photo, cards.get(photo.user_id)) for photo in photos], total)

    async def _store(
        self, cook: Identity, recipe_id: UUID, data: bytes, description: str | None
    ) -> PhotoUpload:
        jpeg = await self.images.prepare(data, fit=FIT)
        key = new_key(FOLDERS[BUCKET], cook.user_id)
        await self.storage.put(BUCKET, key, jpeg)
        try:
            upload = await self._add_row(cook, recipe_id, key, description)
        except BaseException:
            await self.storage.discard(BUCKET, key)
            raise
        return upload

    async def _add_row(
        self, cook: Identity, recipe_id: UUID, key: str, description: str | None
    ) -> PhotoUpload:
        """Insert the row and award XP in one transaction."""
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
        except (ForeignKeyError, InsufficientPermissions):  # deleted or withdrawn since `require`
            raise recipe_not_found() from None
        return PhotoUpload(photo, award.xp_gained)
