"""A fake of Google Play: tokens, subscriptions, acknowledging, pushed notifications.

    async with open_google_play(endpoint=server + "/api/v1/subscription/webhook/google") as play:
        purchase = await play.buy("cookcam_pro_monthly", account_token=user_id)
        await play.renew(purchase)

Sources: Google's documentation of service accounts, of the Android Publisher API, of real-time
developer notifications and of authenticated push.
"""

from cookcam.sandbox.google_play.keys import Keys
from cookcam.sandbox.google_play.server import (
    PACKAGE,
    Behaviour,
    FakeGooglePlay,
    Purchase,
    open_google_play,
)

__all__ = ["PACKAGE", "Behaviour", "FakeGooglePlay", "Keys", "Purchase", "open_google_play"]
