"""The App Store: receipts, signed transactions and notifications, and what it knows now."""

from cookcam.providers.apple.client import AppStore
from cookcam.providers.apple.models import (
    ALL,
    AppleNotification,
    AppleSubscription,
    AppStoreSettings,
    Endpoints,
    Environment,
)

__all__ = [
    "ALL",
    "AppStore",
    "AppStoreSettings",
    "AppleNotification",
    "AppleSubscription",
    "Endpoints",
    "Environment",
]
