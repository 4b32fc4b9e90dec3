"""The keys of the stand-in: the service account's, and the one that signs pushed tokens."""

from __future__ import annotations

import time
from typing import Any

import orjson
from attrs import field, frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ACCOUNT = "cookcam@sandbox.iam.gserviceaccount.com"
PUSHER = "rtdn-push@sandbox.iam.gserviceaccount.com"
AUDIENCE = "cookcam-rtdn"
KEY_ID = "sandbox-push-key"


@frozen
class Keys:
    """Made once: RSA keys take a while."""

    account: rsa.RSAPrivateKey = field(repr=False)
    push: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        return cls(
            rsa.generate_private_key(public_exponent=65537, key_size=2048),
            rsa.generate_private_key(public_exponent=65537, key_size=2048),
        )

    def service_account(self, token_uri: str) -> str:
        """The JSON text that Google Cloud gives out."""
        pem = self.account.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        return orjson.dumps(
            {
                "type": "service_account",
                "project_id": "sandbox",
                "private_key_id": "sandbox-account-key",
                "private_key": pem,
                "client_email": ACCOUNT,
                "client_id": "100000000000000000001",
                "token_uri": token_uri,
            }
        ).decode()

    def push_token(self, **claims: Any) -> str:
        """What Pub/Sub sends in `Authorization`; `claims` replace its own."""
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
