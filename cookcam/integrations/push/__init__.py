"""Push notifications: one interface, and Google's and Apple's service behind it."""

from cookcam.integrations.push.apns import Apns, ApnsKey
from cookcam.integrations.push.fcm import Fcm
from cookcam.integrations.push.models import Outcome, PushMessage, PushProvider, PushService

__all__ = ["Apns", "ApnsKey", "Fcm", "Outcome", "PushMessage", "PushProvider", "PushService"]
