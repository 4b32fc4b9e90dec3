"""Who is calling: from a token to an `Identity`, for HTTP and sockets by the same check."""

from cookcam.identity.account_states import AccountClosed, AccountStates
from cookcam.identity.models import Identity
from cookcam.identity.tokens import Authenticator, IdentityProvider, ProviderUser

__all__ = [
    "AccountClosed",
    "AccountStates",
    "Authenticator",
    "Identity",
    "IdentityProvider",
    "ProviderUser",
]
