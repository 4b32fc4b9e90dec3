"""Every component of the program and what it is built from.

`cookcam.app.program` opens the resources; a `Container` builds each component from them on first
use, once. Production, the tests and `cookcam reconcile` use the same container: tests replace
some components, `cookcam reconcile` uses a few of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

import trio
from attrs import define, fields_dict

from cookcam.app.clients import Clients
from cookcam.app.readiness import ReadyAnnouncement, warm_up
from cookcam.app.reports import DeliveryReports, TaskReports, WebhookReports
from cookcam.cache import Cache
from cookcam.config import Config
from cookcam.database import Database
from cookcam.database.dumps import DumpTools
from cookcam.database.migrate import pending
from cookcam.features.accounts import routes as account_routes
from cookcam.features.accounts.avatars import Avatars
from cookcam.features.accounts.deletion import routes as deletion_routes
from cookcam.features.accounts.deletion.payments import StripeCanceller
from cookcam.features.accounts.deletion.receipts import Receipts
from cookcam.features.accounts.deletion.service import AccountDeletion
from cookcam.features.accounts.deletion.store import AccountDeletionStore
from cookcam.features.accounts.export import routes as export_routes
from cookcam.features.accounts.export.service import Export
from cookcam.features.accounts.export.store import ExportStore
from cookcam.features.accounts.recovery import routes as recovery_routes
from cookcam.features.accounts.recovery.service import Recovery
from cookcam.features.accounts.referrals import routes as referral_routes
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.accounts.referrals.store import ReferralStore
from cookcam.features.accounts.service import Accounts, Profiles, PublicCards
from cookcam.features.accounts.sign_in_places import SignInPlaces
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.billing.app_stores import routes as app_store_routes
from cookcam.features.billing.app_stores.acknowledgements import Acknowledgements
from cookcam.features.billing.app_stores.events import TIMEOUT as STORE_TIMEOUT
from cookcam.features.billing.app_stores.events import StoreEvents, StoreWebhooks
from cookcam.features.billing.app_stores.grants import PurchaseGrants
from cookcam.features.billing.app_stores.proceeds import StoreProceeds
from cookcam.features.billing.app_stores.service import Purchases, ReceiptCipher
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.ledger.gifts import Gifts
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.ledger.reversals import (
    AppleReversals,
    ChargeReversals,
    GoogleReversals,
    ReversalProvider,
    ReversalStore,
    StripeReversals,
)
from cookcam.features.billing.reconciliation import routes as reconciliation_routes
from cookcam.features.billing.reconciliation.corrections import Corrections
from cookcam.features.billing.reconciliation.routes import Operators
from cookcam.features.billing.reconciliation.schedule import Schedule as ReconciliationSchedule
from cookcam.features.billing.reconciliation.service import (
    Reconciliation,
    StoreRefresh,
    UserReconciliation,
)
from cookcam.features.billing.reconciliation.sources.app_stores import (
    AppStoreSource,
    GooglePlaySource,
)
from cookcam.features.billing.reconciliation.sources.models import SubscriptionSource
from cookcam.features.billing.reconciliation.sources.stripe import (
    BACKGROUND_RETRIES,
    StripeSource,
)
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.features.billing.stripe import routes as checkout_routes
from cookcam.features.billing.stripe.billing_lease import BillingLeases
from cookcam.features.billing.stripe.checkout import Checkout
from cookcam.features.billing.stripe.events import STRIPE_TIMEOUT, StripeEvents, StripeInbox
from cookcam.features.billing.stripe.missed_events import MissedEvents
from cookcam.features.billing.stripe.plans import Plans, Refresh, StripeRefresh
from cookcam.features.billing.stripe.redirects import Redirects
from cookcam.features.billing.stripe.superseded import Superseded
from cookcam.features.billing.stripe.sync import StripeSync
from cookcam.features.billing.tiers import routes as subscription_routes
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.billing.tiers.service import Catalogue, Entitlements, Features
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.features.billing.webhooks import routes as webhook_routes
from cookcam.features.billing.webhooks.inbox import WebhookInbox
from cookcam.features.billing.webhooks.store import (
    APP_STORE_EVENTS,
    STRIPE_EVENTS,
    WebhookEventStore,
    webhook_stores,
)
from cookcam.features.creators import routes as creator_routes
from cookcam.features.creators.commissions.service import CreatorCommissions
from cookcam.features.creators.commissions.store import AttributionStore
from cookcam.features.creators.connect.events import CreatorEvents
from cookcam.features.creators.connect.return_urls import ReturnUrls
from cookcam.features.creators.connect.service import StripeAccounts
from cookcam.features.creators.connect.store import AccountStore
from cookcam.features.creators.links.service import Links, Visitors
from cookcam.features.creators.links.store import LinkStore
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.payouts.store import PayoutStore
from cookcam.features.creators.revenue.service import Revenue
from cookcam.features.creators.revenue.store import RevenueStore
from cookcam.features.creators.tips.service import Tips
from cookcam.features.creators.tips.store import TipStore
from cookcam.features.food.ingredients import routes as ingredient_routes
from cookcam.features.food.ingredients.service import Ingredients
from cookcam.features.food.ingredients.store import IngredientStore
from cookcam.features.food.nutrition import routes as nutrition_routes
from cookcam.features.food.nutrition.service import RecipesNutrition, SmartNutritionService
from cookcam.features.food.nutrition.store import NutritionStore
from cookcam.features.food.scans import routes as scan_routes
from cookcam.features.food.scans.service import Scans
from cookcam.features.food.scans.store import ScanStore
from cookcam.features.food.scans.vision import Vision
from cookcam.features.messaging.mail.sender import MailSender
from cookcam.features.messaging.notifications import inbox_routes
from cookcam.features.messaging.notifications import routes as device_routes
from cookcam.features.messaging.notifications.device_store import DeviceStore
from cookcam.features.messaging.notifications.inbox_store import InboxStore
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.features.messaging.notifications.receipts import Receipts as PushReceipts
from cookcam.features.messaging.notifications.receipts import ReceiptStore
from cookcam.features.messaging.notifications.schedule import Schedule
from cookcam.features.messaging.notifications.schedule_store import ScheduleStore
from cookcam.features.messaging.notifications.sender import Sender
from cookcam.features.operations.analytics import routes as analytics_routes
from cookcam.features.operations.analytics.service import WRITE_INTERVAL, Analytics
from cookcam.features.operations.analytics.store import EventStore
from cookcam.features.operations.backups import routes as backup_routes
from cookcam.features.operations.backups.models import BackupPlan, Frequency
from cookcam.features.operations.backups.service import Backups
from cookcam.features.operations.backups.store import BackupStore
from cookcam.features.operations.console import events as console_events
from cookcam.features.operations.console import routes as console_routes
from cookcam.features.operations.console.feed import ConsoleFeed
from cookcam.features.operations.console.samples import Sampler
from cookcam.features.operations.console.sections import Sections
from cookcam.features.operations.console.service import Operations
from cookcam.features.operations.console.store import ConsoleStore
from cookcam.features.operations.health import routes as health_routes
from cookcam.features.operations.health.external_services import Check, ExternalServices
from cookcam.features.operations.health.figures import Figures
from cookcam.features.operations.health.service import Health
from cookcam.features.operations.idempotency.service import StoredReplies
from cookcam.features.operations.idempotency.store import ReplyStore
from cookcam.features.operations.queue_depths import QueueDepths
from cookcam.features.operations.retention.service import Retention
from cookcam.features.operations.retention.store import SweepStore
from cookcam.features.operations.row_buffer import RowBuffer
from cookcam.features.operations.security.blocklist import Blocklist
from cookcam.features.operations.security.recorder import SecurityRecorder
from cookcam.features.operations.security.store import SecurityEventStore
from cookcam.features.operations.switches.service import SwitchFollower
from cookcam.features.operations.switches.store import SwitchStore
from cookcam.features.recipes.catalogue import routes as recipe_routes
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.catalogue.store import RecipeStore
from cookcam.features.recipes.generation import routes as generation_routes
from cookcam.features.recipes.generation.diverse_recipes import DiverseRecipesService
from cookcam.features.recipes.generation.models import Deadlines
from cookcam.features.recipes.generation.previews import PreviewService
from cookcam.features.recipes.generation.recipe_model import RecipeModel
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.streaming import GenerationResponder
from cookcam.features.recipes.generation.suggestions import SuggestionService
from cookcam.features.recipes.generation.usage import GenerationUsage
from cookcam.features.recipes.generation.variations import VariationService
from cookcam.features.recipes.photos import routes as photo_routes
from cookcam.features.recipes.photos.service import CompletionPhotos
from cookcam.features.recipes.photos.store import PhotoStore
from cookcam.features.recipes.ratings import routes as rating_routes
from cookcam.features.recipes.ratings.store import RatingStore
from cookcam.features.recipes.saving import routes as saving_routes
from cookcam.features.recipes.saving.service import Saving
from cookcam.features.recipes.saving.store import SavingStore
from cookcam.features.rewards.achievements import routes as achievement_routes
from cookcam.features.rewards.achievements.store import AchievementStore
from cookcam.features.rewards.leaderboards import routes as leaderboard_routes
from cookcam.features.rewards.leaderboards.redis_store import RedisLeaderboardStore
from cookcam.features.rewards.leaderboards.service import Leaderboards
from cookcam.features.rewards.leaderboards.store import LeaderboardStore
from cookcam.features.rewards.mystery_boxes import routes as box_routes
from cookcam.features.rewards.mystery_boxes.service import MysteryBoxes
from cookcam.features.rewards.mystery_boxes.store import BoxStore
from cookcam.features.rewards.streaks import routes as streak_routes
from cookcam.features.rewards.streaks.service import Streaks
from cookcam.features.rewards.streaks.store import StreakStore
from cookcam.features.rewards.xp import routes as xp_routes
from cookcam.features.rewards.xp.service import Progress, Xp
from cookcam.features.rewards.xp.store import ProgressStore, XpStore
from cookcam.features.social.cooking import events as cooking_events
from cookcam.features.social.cooking import routes as cooking_routes
from cookcam.features.social.cooking.changes import SessionChanges
from cookcam.features.social.cooking.service import Cooking
from cookcam.features.social.cooking.store import CookingStore
from cookcam.features.social.cooking.timeouts import SessionTimeouts
from cookcam.features.social.feed import events as feed_events
from cookcam.features.social.feed import routes as feed_routes
from cookcam.features.social.feed.service import Feed
from cookcam.features.social.feed.store import FeedStore
from cookcam.features.social.moderation import block_routes, report_routes
from cookcam.features.social.moderation.blocks import Blocks
from cookcam.features.social.moderation.service import Moderation
from cookcam.features.social.moderation.store import ReportStore
from cookcam.features.social.presence import events as presence_events
from cookcam.features.social.presence.service import Presence
from cookcam.features.social.presence.store import FollowStore
from cookcam.features.social.users import routes as user_routes
from cookcam.features.social.users.store import UserStore
from cookcam.http import Routes
from cookcam.http.admission import Admission
from cookcam.http.rate_limit import RateLimits
from cookcam.identity import AccountStates
from cookcam.images import Images
from cookcam.integrations.google_play import PushTokens
from cookcam.integrations.push import Expo
from cookcam.integrations.stripe import Stripe
from cookcam.lifecycle.background import Bell, Task
from cookcam.lifecycle.loop_lag import measure_loop_lag
from cookcam.lifecycle.process_state import ProcessState
from cookcam.lifecycle.state import Lifecycle
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.realtime.accounts import AccountWatch
from cookcam.realtime.bus import Bus
from cookcam.realtime.events import Events
from cookcam.realtime.notifiers import NullNotifier
from cookcam.realtime.service import Realtime
from cookcam.sliding_windows import QuotaCounters

T = TypeVar("T")


def built(build: Callable[[Container], T]) -> cached_property[T]:
    """A component that is built on first use."""
    return cached_property(build)


@define(slots=False, eq=False, kw_only=True)
class Container:
    """The opened resources, and every component that is built from them.

    A component is built when it is first used. `sockets` is None in a process that serves none.
    """

    config: Config
    lifecycle: Lifecycle
    process: ProcessState
    metrics: Metrics
    reporter: ErrorReporter
    database: Database
    account_states: AccountStates
    blocklist: Blocklist
    security: SecurityRecorder
    clients: Clients
    bus: Bus
    sockets: Realtime | None

    def replace(self, **parts: object) -> None:
        """Use other components or resources than the usual ones.

        Raises AttributeError for an unknown name, RuntimeError for a component that has already
        been used.
        """
        for name, part in parts.items():
            if name not in fields_dict(type(self)):
                if not isinstance(getattr(type(self), name), cached_property):
                    raise AttributeError(f"{name} is not a component")
                if name in vars(self):
                    raise RuntimeError(f"{name} has already been used")
            setattr(self, name, part)

    # Shared

    def now(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)

    @property
    def realtime(self) -> Realtime:
        """The socket service. Raises RuntimeError in a process without sockets."""
        if self.sockets is None:
            raise RuntimeError("this process serves no sockets")
        return self.sockets

    notifier = built(lambda c: NullNotifier() if c.sockets is None else c.sockets.hub)
    cache = built(lambda c: Cache.of(c.metrics, c.clients.redis))
    images = built(lambda c: Images())
    counters = built(lambda c: QuotaCounters(c.clients.windows))
    replies = built(lambda c: StoredReplies(ReplyStore(c.database)))
    """Stored responses of requests with an idempotency key."""
    task_reports = built(lambda c: TaskReports(c.metrics, c.reporter))

    # Tiers, entitlements and XP

    subscription_store = built(lambda c: SubscriptionStore(c.database))
    catalogue = built(lambda c: Catalogue(c.subscription_store))
    entitlements = built(lambda c: Entitlements(c.subscription_store, c.catalogue, c.now))
    quotas = built(lambda c: Quotas(c.database))
    ledger = built(
        lambda c: SubscriptionLedger(c.database, c.subscription_store, c.notifier, c.now)
    )
    xp = built(lambda c: Xp(XpStore()))

    leaderboards = built(
        lambda c: Leaderboards(
            c.redis_leaderboards or LeaderboardStore(c.database),
            c.cache,
        )
    )

    @cached_property
    def redis_leaderboards(self) -> RedisLeaderboardStore | None:
        redis = self.clients.redis
        return (
            None if redis is None else RedisLeaderboardStore(LeaderboardStore(self.database), redis)
        )

    # Accounts

    cards = built(lambda c: PublicCards(ProfileStore(c.database)))
    profiles = built(lambda c: Profiles(ProfileStore(c.database), c.entitlements, c.xp))
    accounts = built(lambda c: Accounts(c.clients.identity, c.clients.authenticator, c.profiles))
    referrals = built(lambda c: Referrals(ReferralStore(c.database), c.profiles, c.now))

    sign_in_places = built(
        lambda c: SignInPlaces(
            c.database, c.notifications, c.config.identity.service_role_keys, c.now
        )
    )
    receipts = built(lambda c: Receipts(c.config.identity.receipt_secrets))
    account_deletion = built(
        lambda c: AccountDeletion(
            AccountDeletionStore(c.database),
            c.profiles,
            c.clients.identity,
            c.clients.storage,
            {"stripe": StripeCanceller(c.clients.stripe)},
            c.receipts,
            c.clients.mail,
            c.close_account,
        )
    )

    def close_account(self, user_id: UUID) -> None:
        """Reject the tokens of a user and close the connections.

        Other instances learn of it from the database.
        """
        self.account_states.forget(user_id)
        self.realtime.close_account(user_id)

    # Food and recipes

    recipes = built(lambda c: Recipes(RecipeStore(c.database), c.cache))
    ingredients = built(lambda c: Ingredients(IngredientStore(c.database), c.clients.usda, c.cache))
    smart_nutrition = built(lambda c: SmartNutritionService(c.ingredients, c.cache))

    nutrition = built(
        lambda c: RecipesNutrition(
            c.recipes, c.smart_nutrition, NutritionStore(c.database), c.cache
        )
    )
    scans = built(
        lambda c: Scans(
            ScanStore(c.database),
            Vision(c.clients.openai),
            c.images,
            c.clients.storage,
            c.quotas,
            c.xp,
            c.cache,
        )
    )
    completion_photos = built(
        lambda c: CompletionPhotos(
            PhotoStore(c.database), c.recipes, c.cards, c.images, c.clients.storage, c.xp, c.cache
        )
    )

    @cached_property
    def generation(self) -> generation_routes.Generation:
        database, recipes, limits = self.database, self.recipes, self.config.generation
        store, model = SessionStore(database), RecipeModel(self.clients.openai)
        usage, deadlines = GenerationUsage(self.quotas, self.xp), Deadlines(limits.seconds)
        return generation_routes.Generation(
            suggestions=SuggestionService(
                database, store, model, recipes, self.smart_nutrition, usage, deadlines
            ),
            diverse_recipes=DiverseRecipesService(
                database, model, recipes, usage, Deadlines(limits.menu_seconds)
            ),
            previews=PreviewService(database, store, model, recipes, usage, deadlines),
            variations=VariationService(database, model, recipes, usage, deadlines),
        )

    # Social

    blocks = built(lambda c: Blocks(c.database))
    session_changes = built(lambda c: SessionChanges(CookingStore(c.database), c.realtime.hub))

    @cached_property
    def cooking(self) -> Cooking:
        open_join = self.config.realtime.open_join
        return Cooking(self.session_changes, self.recipes, self.blocks, self.now, open_join)

    session_timeouts = built(
        lambda c: SessionTimeouts(c.session_changes, c.config.realtime.host_grace, c.lifecycle)
    )
    presence = built(
        lambda c: Presence(FollowStore(c.database), c.cooking, c.blocks, c.realtime.hub)
    )
    feed = built(
        lambda c: Feed(
            FeedStore(c.database),
            c.recipes,
            c.presence,
            c.blocks,
            c.realtime.hub,
            c.now,
            storage=urlsplit(c.config.identity.supabase_url).netloc,
            collab_quota=feed_events.collab_quota(c.config.realtime),
            counters=c.counters,
        )
    )

    # Creators

    commissions = built(lambda c: CreatorCommissions(AttributionStore(c.database), c.referrals))

    @cached_property
    def links(self) -> Links:
        visitors = Visitors(self.config.identity.service_role_key)
        return Links(LinkStore(self.database), self.referrals, visitors, self.now)

    tips = built(lambda c: Tips(TipStore(c.database), c.recipes, c.clients.stripe))
    payouts = built(lambda c: Payouts(PayoutStore(c.database), c.clients.stripe, c.now))

    @cached_property
    def stripe_accounts(self) -> StripeAccounts:
        server = self.config.server
        returns = ReturnUrls.of(
            api=server.api_base_url, website=server.base_url, origins=server.cors_origins
        )
        return StripeAccounts(AccountStore(self.database), self.clients.stripe, returns, self.now)

    @cached_property
    def revenue(self) -> Revenue:
        store = RevenueStore(self.database)
        return Revenue(store, self.links, self.stripe_accounts, self.payouts, self.now)

    connect_events = built(lambda c: CreatorEvents(c.stripe_accounts, c.payouts, c.tips))

    # Payments with Stripe

    webhook_reports = built(lambda c: WebhookReports(c.metrics, c.reporter))
    billing_leases = built(lambda c: BillingLeases(c.database))
    superseded_bell = built(lambda c: Bell())
    """Rung when a Stripe subscription has to be ended because another replaced it."""

    @cached_property
    def charge_reversals(self) -> ChargeReversals:
        reverses: dict[str, ReversalProvider] = {
            "android": GoogleReversals(self.clients.google_play),
            "ios": AppleReversals(),
        }
        if self.clients.stripe is not None:
            reverses["stripe"] = StripeReversals(
                self.clients.stripe, self.account_deletion.requested_at
            )
        return ChargeReversals(ReversalStore(self.database), reverses, self.webhook_reports)

    @cached_property
    def stripe_sync(self) -> StripeSync | None:
        if self.clients.stripe is None:
            return None
        return StripeSync(
            self.clients.stripe,
            self.ledger,
            self.subscription_store,
            self.catalogue,
            self.commissions,
            self.charge_reversals.store,
            self.superseded_bell.ring,
            self.charge_reversals.wake,
            self.now,
        )

    superseded = built(lambda c: c.stripe_sync and Superseded(c.stripe_sync, c.superseded_bell))

    @cached_property
    def stripe_inbox(self) -> StripeInbox | None:
        if self.clients.stripe is None or self.stripe_sync is None:
            return None
        events = StripeEvents(self.stripe_sync, self.connect_events, self.notifications, self.now)
        store = WebhookEventStore(self.database, STRIPE_EVENTS)
        return WebhookInbox(store, events, STRIPE_TIMEOUT, self.webhook_reports)

    @cached_property
    def missed_events(self) -> MissedEvents | None:
        if self.clients.stripe is None or self.stripe_inbox is None:
            return None
        return MissedEvents(self.stripe_inbox, self.clients.stripe, self.now)

    checkout = built(
        lambda c: Checkout(
            c.stripe_sync,
            c.billing_leases,
            c.subscription_store,
            c.catalogue,
            c.entitlements,
            c.commissions,
            Redirects.of(c.config.server.base_url, c.config.payments.checkout_allowed_origins),
            c.now,
        )
    )

    @cached_property
    def plans(self) -> Plans:
        refreshes: list[Refresh] = [self.store_refresh]
        if self.stripe_sync is not None:
            refreshes.insert(0, StripeRefresh(self.stripe_sync))
        return Plans(
            self.stripe_sync,
            self.entitlements,
            self.ledger,
            self.commissions,
            refreshes,
            self.billing_leases,
            self.now,
        )

    # Purchases in the app stores

    grants = built(
        lambda c: PurchaseGrants(
            PurchaseStore(c.database),
            c.subscription_store,
            c.ledger,
            c.commissions,
            ReversalStore(c.database),
            c.superseded_bell.ring,
        )
    )
    acknowledging = built(
        lambda c: Acknowledgements(PurchaseStore(c.database), c.clients.google_play)
    )

    store_proceeds = built(
        lambda c: StoreProceeds(
            c.catalogue,
            c.clients.google_play,
            {
                "ios": c.config.stores.apple_fee_percent,
                "android": c.config.stores.google_play_fee_percent,
            },
        )
    )
    purchases = built(
        lambda c: Purchases(
            c.database,
            PurchaseStore(c.database),
            c.grants,
            c.acknowledging,
            c.store_proceeds,
            c.clients.app_store,
            c.clients.google_play,
            ReceiptCipher(c.config.stores.receipt_keys or ()),
            c.metrics,
            c.now,
            c.config.stores.allow_sandbox,
        )
    )

    @cached_property
    def store_webhooks(self) -> StoreWebhooks:
        stores, clients = self.config.stores, self.clients
        events = StoreEvents(
            self.grants,
            self.acknowledging,
            self.store_proceeds,
            clients.app_store,
            clients.google_play,
            self.notifications,
            self.now,
            stores.allow_sandbox,
        )
        push_tokens = PushTokens(
            clients.push_keys.find, stores.google_push_audience, stores.google_push_account
        )
        inbox = WebhookInbox(
            WebhookEventStore(self.database, APP_STORE_EVENTS), events, STORE_TIMEOUT
        )
        return StoreWebhooks(inbox, clients.app_store, push_tokens)

    # Reconciliation

    corrections = built(lambda c: Corrections(c.ledger, c.subscription_store, c.commissions, c.now))

    @cached_property
    def store_sources(self) -> list[SubscriptionSource]:
        """The app stores with a key; a run reports those without."""
        sources: list[SubscriptionSource] = []
        sandbox = self.config.stores.allow_sandbox
        if self.config.stores.apple_private_key is not None:
            sources.append(AppStoreSource(app_store=self.clients.app_store, allow_sandbox=sandbox))
        if self.config.providers.google_service_account_key is not None:
            play = self.clients.google_play
            sources.append(GooglePlaySource(google_play=play, allow_sandbox=sandbox))
        return sources

    def sources(self, stripe: Stripe | None) -> list[SubscriptionSource]:
        if stripe is None:
            return self.store_sources
        source = StripeSource(stripe, self.catalogue, self.subscription_store, self.now)
        return [source, *self.store_sources]

    @cached_property
    def reconciliation(self) -> Reconciliation:
        stripe = self.clients.stripe
        return Reconciliation(
            ReconciliationStore(self.database),
            self.sources(stripe and stripe.with_policy(BACKGROUND_RETRIES)),
            self.corrections,
            self.now,
            self.metrics,
        )

    @cached_property
    def user_reconciliation(self) -> UserReconciliation:
        """For one user who waits: Stripe with the usual retry policy, not the patient one."""
        store, sources = ReconciliationStore(self.database), self.sources(self.clients.stripe)
        return UserReconciliation(store, sources, self.corrections, self.now)

    @cached_property
    def store_refresh(self) -> StoreRefresh:
        store = ReconciliationStore(self.database)
        return StoreRefresh(
            UserReconciliation(store, self.store_sources, self.corrections, self.now)
        )

    # Notifications

    notifications = built(
        lambda c: QueueStore(c.database, list(c.clients.push), mail=c.clients.mail is not None)
    )
    notification_sender = built(
        lambda c: Sender(c.notifications, c.notifier, c.clients.push, c.now, c.delivery_reports)
    )
    delivery_reports = built(lambda c: DeliveryReports(c.metrics))
    reminders = built(lambda c: Schedule(ScheduleStore(c.notifications), c.now))

    # Operations

    @cached_property
    def switches(self) -> SwitchFollower:
        close_sockets = None if self.sockets is None else self.sockets.close_for_maintenance
        return SwitchFollower(SwitchStore(self.database), self.lifecycle.mode, close_sockets)

    @cached_property
    def external_checks(self) -> ExternalServices:
        checks: dict[str, Check] = {"openai": self.clients.openai.reachable}
        if self.config.providers.usda_api_key is not None:
            # USDA's shared DEMO_KEY allows fewer requests than this check makes.
            checks["usda"] = self.clients.usda.reachable
        checks["storage"] = self.clients.storage.reachable
        return ExternalServices(checks)

    @cached_property
    def health(self) -> Health:
        sockets = self.config.realtime.enabled
        return Health(
            self.config,
            self.lifecycle,
            ping=self.database.ping,
            pending=lambda: pending(self.config.database.url.reveal()),
            realtime=self.realtime if sockets else None,
            cooking_sessions=self.cooking.active_sessions,
            bus_connected=lambda: self.bus.connected or not sockets,
            external_apis=lambda: self.external_checks.report("openai", "usda"),
            storage=lambda: self.external_checks.report("storage"),
            ping_cache=self.ping_cache,
            circuits=self.clients.breakers,
        )

    async def ping_cache(self) -> None:
        """Raises when the shared cache does not respond."""
        if self.clients.redis is not None:
            await self.clients.redis.ping()
        else:
            await trio.lowlevel.checkpoint()

    @cached_property
    def backups(self) -> Backups:
        settings, database = self.config.backups, self.config.database
        return Backups(
            BackupStore(self.database),
            None if settings.directory is None else Path(settings.directory),
            database.dump_url,
            DumpTools(database.tools_directory),
            BackupPlan(
                settings.enabled, cast("Frequency", settings.frequency), settings.retention_days
            ),
            self.ping_cache,
            self.metrics,
            self.now,
        )

    figures = built(
        lambda c: Figures(
            c.metrics,
            lambda: c.database.slow_statements,
            SecurityEventStore(c.database).figures,
            lambda: [str(network) for network in c.blocklist.networks],
            lambda: 0 if c.sockets is None else c.sockets.connections(),
        )
    )

    moderation = built(
        lambda c: Moderation(ReportStore(c.database, c.notifications), c.recipes, c.now)
    )
    operations = built(
        lambda c: Operations(
            c.process,
            webhook_stores(c.database),
            c.notifications,
            c.moderation,
            SwitchStore(c.database.ignoring_mode()),
            ConsoleStore(c.database.ignoring_mode()),
        )
    )
    sampler = built(
        lambda c: Sampler(
            c.metrics,
            lambda: 0 if c.sockets is None else c.sockets.connections(),
            lambda: c.database.stats,
        )
    )
    console_sections = built(
        lambda c: Sections(
            c.operations,
            c.health,
            c.metrics,
            lambda: sum(one.watches_drain for one in c.realtime.hub.connections),
        )
    )
    console_feed = built(
        lambda c: ConsoleFeed(
            c.realtime.hub, c.console_sections, c.sampler, c.lifecycle, c.config.drain
        )
    )

    @cached_property
    def analytics(self) -> Analytics:
        def count(outcome: str, events: int) -> None:
            self.metrics.analytics_events_total.of(outcome).inc(events)

        store = EventStore(self.database)
        buffer = RowBuffer("analytics events", store.write, count, interval=WRITE_INTERVAL)
        return Analytics(store, buffer, self.cache, self.now)

    retention = built(
        lambda c: Retention(SweepStore(c.database), c.now, c.task_reports.task_failed)
    )
    queue_depths = built(lambda c: QueueDepths(c.database, c.metrics))
    limits = built(lambda c: RateLimits.of(c.config.limits, c.counters))
    admission = built(lambda c: Admission(c.metrics))

    # What the program serves and runs

    def routes(self) -> list[Routes]:
        """The routes of all features."""
        config, database = self.config, self.database
        profiles, recipes = self.profiles, self.recipes
        identity, storage = self.clients.identity, self.clients.storage
        landing_page = f"{config.server.base_url}/reset-password"
        stripe_secrets = config.providers.stripe_webhook_secrets or ()
        connect_secrets = config.providers.stripe_connect_webhook_secrets or stripe_secrets
        return [
            health_routes.routes(self.health, self.figures, self.metrics.render),
            account_routes.routes(self.accounts, profiles, self.sign_in_places),
            console_routes.routes(
                self.accounts, self.sign_in_places, self.operations, self.console_sections
            ),
            recovery_routes.routes(Recovery(identity, landing_page, self.now)),
            account_routes.photo_routes(Avatars(profiles, self.images, storage)),
            deletion_routes.routes(self.account_deletion, self.receipts),
            export_routes.routes(Export(ExportStore(database), profiles, storage, self.now)),
            referral_routes.routes(self.referrals),
            user_routes.routes(UserStore(database)),
            feed_routes.routes(FeedStore(database)),
            cooking_routes.routes(CookingStore(database)),
            block_routes.routes(self.blocks, self.cooking),
            report_routes.routes(self.moderation),
            device_routes.routes(DeviceStore(database)),
            analytics_routes.routes(self.analytics),
            inbox_routes.routes(InboxStore(database)),
            recipe_routes.routes(recipes),
            saving_routes.routes(Saving(SavingStore(database), self.quotas, self.xp)),
            rating_routes.routes(RatingStore(database)),
            photo_routes.routes(self.completion_photos),
            ingredient_routes.routes(self.ingredients),
            nutrition_routes.routes(self.smart_nutrition, self.nutrition),
            generation_routes.routes(
                self.generation, GenerationResponder(self.notifier, self.replies, self.metrics)
            ),
            scan_routes.routes(self.scans),
            xp_routes.routes(Progress(ProgressStore(database)), self.replies),
            streak_routes.routes(Streaks(StreakStore(database)), self.replies),
            achievement_routes.routes(AchievementStore(database)),
            leaderboard_routes.routes(self.leaderboards),
            box_routes.routes(
                MysteryBoxes(
                    BoxStore(database), Gifts(self.ledger), self.quotas, self.xp, secrets.randbelow
                ),
                self.replies,
            ),
            subscription_routes.routes(
                self.catalogue,
                self.entitlements,
                Features(self.catalogue, self.entitlements, self.quotas),
            ),
            checkout_routes.routes(self.checkout, self.plans),
            *app_store_routes.routes(self.purchases, self.store_webhooks),
            creator_routes.routes(
                self.links,
                self.revenue,
                self.payouts,
                self.tips,
                self.stripe_accounts,
                self.entitlements,
                website=config.server.base_url,
            ),
            reconciliation_routes.routes(
                self.reconciliation,
                self.user_reconciliation,
                Operators(config.reconciliation.operations_api_keys or ()),
            ),
            backup_routes.routes(self.backups),
            webhook_routes.routes(
                self.stripe_inbox,
                webhook_routes.Endpoint(stripe_secrets, self.now),
                webhook_routes.Endpoint(connect_secrets, self.now),
            ),
        ]

    def events(self) -> list[Events]:
        """The socket events of all features: each `events.py` is registered here."""
        settings = self.config.realtime
        return [
            cooking_events.events(self.cooking, self.session_timeouts, settings),
            presence_events.events(self.presence, self.now),
            feed_events.events(self.feed, settings),
            console_events.events(self.console_feed),
        ]

    def background_tasks(self) -> list[Task]:
        """The tasks that run beside the requests, until the program drains."""
        clients, config = self.clients, self.config
        daily = ReconciliationSchedule(self.reconciliation, config.reconciliation.at, self.now)
        at_start = [clients.identity, *([clients.stripe] if clients.stripe else [])]
        tasks = [
            Task("health checks", self.health.run),
            Task("announce readiness", ReadyAnnouncement(self.health, config.server.pm2_channel)),
            Task("operators' switches", self.switches.run),
            Task("warm up", partial(warm_up, at_start, [clients.openai])),
            Task("retention", self.retention.run),
            Task("blocklist", partial(self.blocklist.run, self.realtime.hub)),
            Task("security events", self.security.buffer.run),
            Task("analytics", self.analytics.buffer.run),
            Task("leaderboard ranks", self.leaderboards.compact),
            Task("analytics partitions", self.analytics.maintain_partitions),
            Task("external checks", self.external_checks.run),
            Task("account deletions", self.account_deletion.run),
            Task("reconciliation", daily.run),
            Task("store notifications", self.store_webhooks.inbox.run),
            Task("acknowledgements", self.acknowledging.run),
            Task("charge reversals", self.charge_reversals.run),
            Task(
                "account watch",
                AccountWatch(self.realtime.hub, self.database, self.account_states).run,
            ),
            Task("admission", self.admission.run),
            Task("queue depths", self.queue_depths.run),
            Task("backups", self.backups.run),
            Task("loop lag", partial(measure_loop_lag, self.sampler.observe_loop_lag)),
            Task("samples", self.sampler.run),
            Task("operations console", self.console_feed.run),
            Task("notifications", self.notification_sender.run),
            Task("new notifications", self.notification_sender.listen),
        ]
        if self.redis_leaderboards is not None:
            tasks.append(Task("leaderboards in redis", self.redis_leaderboards.run))
        if clients.push:
            tasks.append(Task("reminders", self.reminders.run))
        if clients.mail is not None:
            mails = MailSender(
                self.notifications,
                clients.mail,
                self.now,
                self.delivery_reports,
                config.server.base_url,
            )
            tasks.append(Task("mail", mails.run))
        if isinstance(expo := clients.push.get("expo"), Expo):
            receipts = PushReceipts(
                ReceiptStore(self.database),
                expo,
                lambda verdict: self.metrics.push_receipts_total.of(verdict).inc(),
            )
            tasks.append(Task("push receipts", receipts.run))
        if clients.stripe is not None:
            tasks.append(Task("creator payouts", self.payouts.run))
        for name, component in (
            ("stripe webhooks", self.stripe_inbox),
            ("missed events of stripe", self.missed_events),
            ("superseded subscriptions", self.superseded),
        ):
            if component is not None:
                tasks.append(Task(name, component.run))
        if config.realtime.enabled:  # without sockets, no participant of a session is present
            tasks.append(Task("cooking attendance", self.session_timeouts.run))
        return tasks
