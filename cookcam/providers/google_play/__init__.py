"""Google Play: subscriptions as Google knows them, acknowledging them, and who pushes to us."""

from cookcam.providers.google_play.client import GooglePlay
from cookcam.providers.google_play.models import GoogleOrder, GoogleSubscription, State
from cookcam.providers.google_play.push import PushTokens

__all__ = ["GoogleOrder", "GooglePlay", "GoogleSubscription", "PushTokens", "State"]
