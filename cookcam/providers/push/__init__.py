"""Push notifications: one interface, and Google's and Apple's service behind it."""

from cookcam.providers.push.apns import Apns, ApnsKey
from cookcam.providers.push.fcm import Fcm
from cookcam.providers.push.models import Outcome, PushMessage, PushProvider, PushService

__all__ = ["Apns", "ApnsKey", "Fcm", "Outcome", "PushMessage", "PushProvider", "PushService"]
