"""Google Play: subscriptions as Google knows them, acknowledging them, and who pushes to us."""

from cookcam.integrations.google_play.client import GooglePlay
from cookcam.integrations.google_play.models import GoogleOrder, GoogleSubscription, State
from cookcam.integrations.google_play.push import PushTokens

__all__ = ["GoogleOrder", "GooglePlay", "GoogleSubscription", "PushTokens", "State"]
