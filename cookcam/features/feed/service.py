"""The rules of the live feed: what is shared with whom. Source: `spec/realtime.md` §3 and §4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from attrs import field, frozen
from msgspec import UNSET, UnsetType

from cookcam.errors import RateLimited, ValidationError
from cookcam.features.feed.models import (
    CollabRequest,
    LiveRecipe,
    LiveRecipeCommented,
    LiveRecipeLiked,
    LiveScan,
    ShareNotFound,
    new_share_id,
)
from cookcam.features.feed.store import FeedStore
from cookcam.features.presence.service import Presence
from cookcam.features.recipes.service import Recipes
from cookcam.realtime.connection import Connection
from cookcam.realtime.hub import Hub
from cookcam.realtime.limits import Limits, Quota


@frozen
class Feed:
    """`storage` is the host (and port) from which pictures may come, `per_target` the quota of
    requests to one and the same person, `now` the time."""

    store: FeedStore
    recipes: Recipes
    presence: Presence
    hub: Hub
    now: Callable[[], datetime]
    storage: str
    per_target: Quota
    _limits: Limits = field(factory=Limits, init=False)

    async def share_recipe(
        self, caller: Connection, recipe_id: UUID, title: str, description: str, tags: Sequence[str]
    ) -> None:
        """Tells everybody. Raises NotFound for a recipe that is neither published nor own."""
        recipe = (await self.recipes.get(caller.identity, recipe_id)).recipe
        share = LiveRecipe(
            new_share_id(),
            caller.user_id,
            recipe.id,
            title,
            description,
            self.now(),
            caller.user_name,
            list(tags),
        )
        await self.store.share(share)
        self.hub.broadcast("live_recipe_shared", share, volatile=True)

    async def like(self, caller: Connection, share_id: str) -> None:
        """Tells everybody, once per user and share. Raises ShareNotFound."""
        liked = await self.store.like(share_id, caller.user_id)
        if liked is None:
            raise ShareNotFound()
        first, count = liked
        if first:
            event = LiveRecipeLiked(share_id, caller.user_id, caller.user_name, self.now(), count)
            self.hub.broadcast("live_recipe_liked", event, volatile=True)

    async def comment(self, caller: Connection, share_id: str, comment: str) -> None:
        """Tells everybody. Raises ShareNotFound."""
        at = self.now()
        if not await self.store.comment(share_id, caller.user_id, comment, at):
            raise ShareNotFound()
        event = LiveRecipeCommented(share_id, comment, caller.user_id, caller.user_name, at)
        self.hub.broadcast("live_recipe_commented", event, volatile=True)

    async def share_scan(
        self,
        caller: Connection,
        ingredients: Sequence[str],
        confidence: float,
        image_url: str | UnsetType = UNSET,
    ) -> None:
        """Tells followers and the caller. Raises ValidationError for a picture from elsewhere."""
        if image_url is not UNSET:
            self._check_picture(image_url)
        scan = LiveScan(
            user_id=caller.user_id,
            user_name=caller.user_name,
            ingredients=list(ingredients),
            confidence=confidence,
            image_url=image_url,
            timestamp=self.now(),
        )
        for user_id in {caller.user_id, *await self.presence.followers(caller.user_id)}:
            self.hub.send_to_user(user_id, "live_scan_shared", scan, volatile=True)

    async def request_collab(
        self, caller: Connection, target: UUID, recipe_id: UUID, message: str
    ) -> None:
        """Asks somebody to cook together. The caller does not learn whether anybody is there.

        Raises ValidationError for oneself, NotFound for a recipe that the caller may not read,
        RateLimited.
        """
        if target == caller.user_id:
            raise ValidationError.of("targetUserId", "must be somebody else")
        recipe = (await self.recipes.get(caller.identity, recipe_id)).recipe
        wait = self._limits.spend(self.per_target, f"{caller.user_id} {target}")
        if wait:
            raise RateLimited(retry_after=wait)
        request = CollabRequest(caller.user_id, caller.user_name, recipe.id, message, self.now())
        self.hub.send_to_user(target, "recipe_collab_request", request)

    def _check_picture(self, url: str) -> None:
        """The whole authority is compared: no user part, and no character that a browser reads
        as the end of a host and a parser does not."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "https" or parts.netloc.lower() != self.storage.lower():
            raise ValidationError.of("imageUrl", "must be an https address of the storage")
