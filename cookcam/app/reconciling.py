"""`cookcam reconcile`: what reconciliation needs and no more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from cookcam.app.membership import Membership
from cookcam.app.providers import app_store_settings, open_google_play, open_stripe
from cookcam.config import Config
from cookcam.database import Database
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.accounts.referrals.store import ReferralStore
from cookcam.features.accounts.service import Profiles
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.billing.reconciliation.opening import Reconciling, stores_of
from cookcam.features.creators.commissions.service import CreatorCommissions
from cookcam.features.creators.commissions.store import AttributionStore
from cookcam.integrations.app_store import AppStore
from cookcam.observability.metrics import Metrics
from cookcam.realtime.hub import Hub


@asynccontextmanager
async def open_reconciling(config: Config) -> AsyncGenerator[Reconciling]:
    """For a process of its own that serves nobody: the sockets of users hear nothing of its
    corrections."""
    now = partial(datetime.now, UTC)
    async with (
        Database.open(config.database) as database,
        open_stripe(config) as stripe,
        AppStore.open(app_store_settings(config)) as app_store,
        open_google_play(config) as google_play,
    ):
        membership = Membership.of(database, Hub(max_per_user=1), now)
        profiles = Profiles(ProfileStore(database), membership.entitlements, membership.xp)
        referrals = Referrals(ReferralStore(database), profiles, now)
        yield Reconciling.of(
            membership.ledger,
            membership.catalogue,
            stripe,
            CreatorCommissions(AttributionStore(database), referrals),
            now,
            Metrics(),
            stores=stores_of(config, app_store, google_play),
        )
