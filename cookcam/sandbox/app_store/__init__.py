"""A fake of the App Store: receipts, signed transactions, the Server API, notifications.

    async with open_apple(endpoint=server + "/api/v1/subscription/webhook/apple") as apple:
        purchase = apple.buy("com.cookcam.pro.monthly", account_token=user_id)
        apple.renew(purchase)

Its certificate chains end in its own root (`apple.root`, in DER), with the extensions that Apple's
library checks. Sources: Apple's documentation of verifyReceipt, of the App Store Server API and
of App Store Server Notifications.
"""

from cookcam.sandbox.app_store.authority import Authority
from cookcam.sandbox.app_store.purchases import Purchase
from cookcam.sandbox.app_store.server import (
    APP_ID,
    BUNDLE_ID,
    Behaviour,
    FakeAppStore,
    open_apple,
)

__all__ = [
    "APP_ID",
    "BUNDLE_ID",
    "Authority",
    "Behaviour",
    "FakeAppStore",
    "Purchase",
    "open_apple",
]
