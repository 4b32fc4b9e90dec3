"""What is paid: by card, in the app stores, to creators; and the comparing of all of it."""

from __future__ import annotations

from attrs import frozen

from cookcam.app.ground import Ground
from cookcam.app.membership import Membership
from cookcam.app.people import People
from cookcam.app.providers import Providers
from cookcam.app.reports import WebhookReports
from cookcam.features.billing.app_stores import routes as purchase_routes
from cookcam.features.billing.app_stores.opening import AppStores
from cookcam.features.billing.app_stores.reversals import AppleReversals, GoogleReversals
from cookcam.features.billing.ledger.entitlements import Entitlements
from cookcam.features.billing.reconciliation import routes as reconciliation_routes
from cookcam.features.billing.reconciliation.opening import Reconciling, stores_of
from cookcam.features.billing.reconciliation.routes import Operators
from cookcam.features.billing.reconciliation.schedule import Schedule
from cookcam.features.billing.stripe import checkout_routes
from cookcam.features.billing.stripe.payments import Payments
from cookcam.features.billing.stripe.redirects import Redirects
from cookcam.features.billing.webhooks import routes
from cookcam.features.creators import routes as creator_routes
from cookcam.features.creators.connect.return_urls import ReturnUrls
from cookcam.features.creators.service import Creators
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.http import Routes
from cookcam.integrations.google_play import PushTokens
from cookcam.lifecycle.background import Task


@frozen
class Money:
    """`pays_out` where Stripe is configured: creators are paid by it."""

    ground: Ground
    entitlements: Entitlements
    creators: Creators
    reconciling: Reconciling
    payments: Payments
    app_stores: AppStores
    pays_out: bool

    @classmethod
    def of(
        cls,
        ground: Ground,
        providers: Providers,
        membership: Membership,
        people: People,
        recipes: Recipes,
    ) -> Money:
        creators = creators_of(ground, providers, membership, people, recipes)
        reconciling = Reconciling.of(
            membership.ledger,
            membership.catalogue,
            providers.stripe,
            creators.commissions,
            ground.now,
            ground.metrics,
            stores=stores_of(ground.config, providers.app_store, providers.google_play),
        )
        payments = payments_of(ground, providers, membership, creators, reconciling)
        return cls(
            ground=ground,
            entitlements=membership.entitlements,
            creators=creators,
            reconciling=reconciling,
            payments=payments,
            app_stores=app_stores_of(ground, providers, membership, creators, payments),
            pays_out=providers.stripe is not None,
        )

    def routes(self) -> list[Routes]:
        config = self.ground.config
        return [
            checkout_routes.routes(self.payments.checkout, self.payments.plans),
            *purchase_routes.routes(self.app_stores.purchases, self.app_stores.inbox),
            creator_routes.routes(self.creators, self.entitlements, website=config.server.base_url),
            reconciliation_routes.routes(
                self.reconciling.all,
                self.reconciling.of_users,
                Operators(config.reconciliation.operations_api_key),
            ),
            self._webhooks(),
        ]

    def _webhooks(self) -> Routes:
        config, now = self.ground.config.providers, self.ground.now
        ours = config.stripe_webhook_secrets or ()
        connect = config.stripe_connect_webhook_secrets or ours
        return routes.routes(
            self.payments.inbox,
            routes.Endpoint(ours, now),
            routes.Endpoint(connect, now),
        )

    def background(self) -> list[Task]:
        at, payments = self.ground.config.reconciliation.at, self.payments
        tasks = [
            Task("reconciliation", Schedule(self.reconciling.all, at, self.ground.now).run),
            Task("store notifications", self.app_stores.inbox.run),
            Task("acknowledgements", self.app_stores.acknowledging.run),
            Task("charge reversals", payments.reversals.run),
        ]
        for name, work in (
            ("stripe webhooks", payments.inbox),
            ("missed events of stripe", payments.missed),
            ("superseded subscriptions", payments.superseded),
        ):
            if work is not None:
                tasks.append(Task(name, work.run))
        if self.pays_out:
            tasks.append(Task("creator payouts", self.creators.payouts.run))
        return tasks


def creators_of(
    ground: Ground,
    providers: Providers,
    membership: Membership,
    people: People,
    recipes: Recipes,
) -> Creators:
    config = ground.config
    return Creators.of(
        ground.database,
        providers.stripe,
        recipes,
        people.referrals,
        membership.ledger.hub,
        ground.now,
        returns=ReturnUrls.of(
            api=config.server.api_base_url,
            website=config.server.base_url,
            origins=config.server.cors_origins,
        ),
        secret=config.identity.service_role_key,
    )


def payments_of(
    ground: Ground,
    providers: Providers,
    membership: Membership,
    creators: Creators,
    reconciling: Reconciling,
) -> Payments:
    config = ground.config
    return Payments.of(
        providers.stripe,
        membership.ledger,
        membership.entitlements,
        Redirects.of(config.server.base_url, config.payments.checkout_allowed_origins),
        ground.now,
        commissions=creators.commissions,
        connect=creators.events,
        observer=WebhookReports(ground.metrics, ground.reporter),
        refreshes=(reconciling.store_refresh,),
        reverses={"android": GoogleReversals(providers.google_play), "ios": AppleReversals()},
    )


def app_stores_of(
    ground: Ground,
    providers: Providers,
    membership: Membership,
    creators: Creators,
    payments: Payments,
) -> AppStores:
    stores = ground.config.stores
    return AppStores.of(
        membership.ledger,
        membership.catalogue,
        providers.app_store,
        providers.google_play,
        PushTokens(
            providers.push_keys.find, stores.google_push_audience, stores.google_push_account
        ),
        ground.now,
        commissions=creators.commissions,
        fees={"ios": stores.apple_fee_percent, "android": stores.google_play_fee_percent},
        superseded=payments.superseded.bell.ring if payments.superseded else lambda: None,
        metrics=ground.metrics,
        receipt_key=stores.receipt_key,
        allow_sandbox=stores.allow_sandbox,
    )
