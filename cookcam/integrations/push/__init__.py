"""Push notifications through Google's and Apple's services."""

from cookcam.integrations.push.apns import Apns, ApnsKey
from cookcam.integrations.push.fcm import Fcm
from cookcam.integrations.push.models import PushMessage, PushProvider, PushResult, PushService

__all__ = ["Apns", "ApnsKey", "Fcm", "PushMessage", "PushProvider", "PushResult", "PushService"]
