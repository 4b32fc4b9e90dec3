"""What happens between people at the same time: cooking together, presence, the feed."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import frozen

from cookcam.app.ground import Ground
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.social.cooking import events as cooking_events
from cookcam.features.social.cooking.changes import SessionChanges
from cookcam.features.social.cooking.service import Cooking
from cookcam.features.social.cooking.store import CookingStore
from cookcam.features.social.cooking.timeouts import SessionTimeouts
from cookcam.features.social.feed import events as feed_events
from cookcam.features.social.feed.service import Feed
from cookcam.features.social.feed.store import FeedStore
from cookcam.features.social.presence import events as presence_events
from cookcam.features.social.presence.service import Presence
from cookcam.features.social.presence.store import FollowStore
from cookcam.lifecycle.background import Task
from cookcam.realtime.accounts import AccountWatch
from cookcam.realtime.events import Events
from cookcam.realtime.hub import Hub


@frozen
class Live:
    ground: Ground
    cooking: Cooking
    attendance: SessionTimeouts
    presence: Presence
    feed: Feed
    account_watch: AccountWatch

    @classmethod
    def of(cls, ground: Ground, hub: Hub, recipes: Recipes) -> Live:
        config, database = ground.config, ground.database
        changes = SessionChanges(CookingStore(database), hub)
        cooking = Cooking(changes, recipes, ground.now, config.realtime.open_join)
        presence = Presence(FollowStore(database), cooking, hub)
        return cls(
            ground=ground,
            cooking=cooking,
            attendance=SessionTimeouts(changes, config.realtime.host_grace, ground.lifecycle),
            presence=presence,
            feed=Feed(
                FeedStore(database),
                recipes,
                presence,
                hub,
                ground.now,
                storage=urlsplit(config.identity.supabase_url).netloc,
                collab_quota=feed_events.collab_quota(config.realtime),
            ),
            account_watch=AccountWatch(hub, database, ground.account_states),
        )

    def events(self) -> list[Events]:
        settings = self.ground.config.realtime
        return [
            cooking_events.events(self.cooking, self.attendance, settings),
            presence_events.events(self.presence, self.ground.now),
            feed_events.events(self.feed, settings),
        ]

    def background(self) -> list[Task]:
        account_watch = Task("account watch", self.account_watch.run)
        if not self.ground.config.realtime.enabled:  # without sockets everybody would be away
            return [account_watch]
        return [Task("cooking attendance", self.attendance.run), account_watch]
