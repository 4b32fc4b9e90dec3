"""Keys of the fake Google Play: the service account's, and the one that signs pushed tokens."""

from __future__ import annotations

import time
from typing import Any

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import rsa

from cookcam.sandbox.keys import ServiceAccount, new_rsa_key

SERVICE_ACCOUNT = ServiceAccount(
    "cookcam@sandbox.iam.gserviceaccount.com",
    "sandbox",
    "https://www.googleapis.com/auth/androidpublisher",
)
PUSHER = "rtdn-push@sandbox.iam.gserviceaccount.com"
AUDIENCE = "cookcam-rtdn"
KEY_ID = "sandbox-push-key"


@frozen
class Keys:
    """Take about 200 ms to make."""

    account: rsa.RSAPrivateKey = field(repr=False)
    push: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        return cls(new_rsa_key(), new_rsa_key())

    def service_account(self, token_uri: str) -> str:
        return SERVICE_ACCOUNT.key_file(self.account, token_uri)

    def push_token(self, **claims: Any) -> str:
        """The bearer token of a Pub/Sub push; `claims` replace the usual ones."""
        import jwt

        now = int(time.time())
        own = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "sub": "100000000000000000002",
            "email": PUSHER,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        return jwt.encode({**own, **claims}, self.push, algorithm="RS256", headers={"kid": KEY_ID})

    def public(self) -> dict[str, Any]:
        """The JWKS of the push key."""
        from jwt.algorithms import RSAAlgorithm

        entry = RSAAlgorithm.to_jwk(self.push.public_key(), as_dict=True)
        return {"keys": [{**entry, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}
