"""The App Store: receipts, signed transactions, notifications, and the Server API."""

from cookcam.integrations.app_store.client import AppStore
from cookcam.integrations.app_store.models import (
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
