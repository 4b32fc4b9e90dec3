"""Push notifications through Expo's, Google's and Apple's services."""

from cookcam.integrations.push.apns import Apns, ApnsKey
from cookcam.integrations.push.expo import Expo
from cookcam.integrations.push.fcm import Fcm
from cookcam.integrations.push.models import PushMessage, PushProvider, PushResult, PushService

__all__ = [
    "Apns",
    "ApnsKey",
    "Expo",
    "Fcm",
    "PushMessage",
    "PushProvider",
    "PushResult",
    "PushService",
]
