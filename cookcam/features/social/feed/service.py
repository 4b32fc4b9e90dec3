"""The rules of the live feed: shares, reactions and collaboration requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from attrs import frozen
from msgspec import UNSET, UnsetType

from cookcam.errors import RateLimited, ValidationError
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.social.feed.models import (
    CollabRequest,
    LiveRecipe,
    LiveRecipeCommented,
    LiveRecipeLiked,
    LiveScan,
    ShareNotFound,
    new_share_id,
)
from cookcam.features.social.feed.store import FeedStore
from cookcam.features.social.moderation.blocks import Blocks
from cookcam.features.social.presence.service import Presence
from cookcam.realtime.connection import Connection
from cookcam.realtime.notifiers import RoomNotifier
from cookcam.sliding_windows import Quota, QuotaCounters


@frozen
class Feed:
    """`storage`: the host, with port if any, that image URLs must have. `collab_quota` limits
    requests from one user to one other user. `now` returns the current time."""

    store: FeedStore
    recipes: Recipes
    presence: Presence
    blocks: Blocks
    hub: RoomNotifier
    now: Callable[[], datetime]
    storage: str
    collab_quota: Quota
    counters: QuotaCounters

    async def share_recipe(
        self, caller: Connection, recipe_id: UUID, title: str, description: str, tags: Sequence[str]
    ) -> None:
        """Stores the share and broadcasts it to all users.

        Raises NotFound unless the recipe is published or the caller's own.
        """
        recipe = await self.recipes.require(caller.identity, recipe_id)
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
        hidden = await self.blocks.hidden_from(caller.user_id)
        await self.store.share(share)
        self.hub.broadcast("live_recipe_shared", share, hidden.now(), volatile=True)

    async def like(self, caller: Connection, share_id: str) -> None:
        """Stores the like; broadcasts a user's first like of a share. Raises ShareNotFound."""
        hidden = await self.blocks.hidden_from(caller.user_id)
        liked = await self.store.like(share_id, caller.user_id)
        if liked is None:
            raise ShareNotFound()
        first, count = liked
        if first:
            event = LiveRecipeLiked(share_id, caller.user_id, caller.user_name, self.now(), count)
            self.hub.broadcast("live_recipe_liked", event, hidden.now(), volatile=True)

    async def comment(self, caller: Connection, share_id: str, comment: str) -> None:
        """Stores the comment and broadcasts it to all users. Raises ShareNotFound."""
        at, hidden = self.now(), await self.blocks.hidden_from(caller.user_id)
        if not await self.store.comment(share_id, caller.user_id, comment, at):
            raise ShareNotFound()
        event = LiveRecipeCommented(share_id, comment, caller.user_id, caller.user_name, at)
        self.hub.broadcast("live_recipe_commented", event, hidden.now(), volatile=True)

    async def share_scan(
        self,
        caller: Connection,
        ingredients: Sequence[str],
        confidence: float,
        image_url: str | UnsetType = UNSET,
    ) -> None:
        """Sends the scan to the caller's followers and own devices.

        Raises ValidationError for an image URL outside the storage.
        """
        if image_url is not UNSET:
            self._check_image_url(image_url)
        scan = LiveScan(
            user_id=caller.user_id,
            user_name=caller.user_name,
            ingredients=list(ingredients),
            confidence=confidence,
            image_url=image_url,
            timestamp=self.now(),
        )
        hidden = await self.blocks.hidden_from(caller.user_id)
        followers = await self.presence.followers(caller.user_id)
        for user_id in {caller.user_id, *followers} - hidden.now():
            self.hub.send_to_user(user_id, "live_scan_shared", scan, volatile=True)

    async def request_collab(
        self, caller: Connection, target: UUID, recipe_id: UUID, message: str
    ) -> None:
        """Sends a collaboration request to the target's devices.

        An unknown, offline or blocked target is not reported to the caller. Raises ValidationError
        when the target is the caller, NotFound for a recipe that the caller may not read, and
        RateLimited.
        """
        if target == caller.user_id:
            raise ValidationError.of("targetUserId", "must be another user")
        recipe = await self.recipes.require(caller.identity, recipe_id)
        state = await self.counters.spend(f"{caller.user_id} {target}", self.collab_quota)
        if not state.allowed:
            raise RateLimited(retry_after=state.retry_after)
        request = CollabRequest(caller.user_id, caller.user_name, recipe.id, message, self.now())
        hidden = await self.blocks.hidden_from(caller.user_id)
        if target not in hidden.now():
            self.hub.send_to_user(target, "recipe_collab_request", request)

    def _check_image_url(self, url: str) -> None:
        """Compares the whole authority, so a URL with user info, or with a character that browsers
        but not `urlsplit` treat as the end of the host, is rejected."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "https" or parts.netloc.lower() != self.storage.lower():
            raise ValidationError.of("imageUrl", "must be an https address of the storage")
