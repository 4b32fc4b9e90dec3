"""The profiles service with all it stands on."""

from __future__ import annotations

from datetime import UTC, datetime

from cookcam.database import Database
from cookcam.features.accounts.service import Profiles
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.billing.tiers.service import Catalogue, Entitlements
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.features.rewards.xp.service import Xp
from cookcam.features.rewards.xp.store import XpStore


def now() -> datetime:
    return datetime.now(UTC)


def profiles_of(database: Database) -> Profiles:
    subscriptions = SubscriptionStore(database)
    entitlements = Entitlements(subscriptions, Catalogue(subscriptions), now)
    return Profiles(ProfileStore(database), entitlements, Xp(XpStore()))
