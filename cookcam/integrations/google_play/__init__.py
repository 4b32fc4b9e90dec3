"""Google Play: subscriptions, acknowledgements, and verification of push tokens."""

from cookcam.integrations.google_play.client import GooglePlay
from cookcam.integrations.google_play.models import GoogleOrder, GoogleSubscription, State
from cookcam.integrations.google_play.push import PushTokens

__all__ = ["GoogleOrder", "GooglePlay", "GoogleSubscription", "PushTokens", "State"]
