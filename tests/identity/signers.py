"""Keys that sign tokens in these tests, and a provider that publishes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import jwt
from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from cookcam.errors import AppError
from cookcam.integrations.supabase.sessions import AuthUser

PROJECT = "https://project.supabase.co"
ISSUER = f"{PROJECT}/auth/v1"
SECRET = "a secret of the project, long enough for every HMAC that these tests use"
NOW = 1_800_000_000.0
ANN = UUID("a2000000-0000-4000-8000-000000000001")


@frozen
class Signer:
    """A private key with its id and its one algorithm."""

    key_id: str
    algorithm: str
    private: Any

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        return jwt.encode(
            dict(claims), self.private, self.algorithm, {"kid": self.key_id, **header}
        )

    def jwk(self, **changes: Any) -> dict[str, Any]:
        algorithm = get_default_algorithms()[self.algorithm]
        public = json.loads(algorithm.to_jwk(self.private.public_key()))
        return {**public, "kid": self.key_id, "alg": self.algorithm, "use": "sig", **changes}

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )


@cache
def signer(algorithm: str, key_id: str = "first") -> Signer:
    make = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    return Signer(key_id, algorithm, make[algorithm]())


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token of Ann's; None removes one."""
    all_claims = {
        "sub": str(ANN),
        "aud": "authenticated",
        "iss": ISSUER,
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "role": "authenticated",
        "email": "ann@example.com",
        "session_id": str(uuid4()),
        "app_metadata": {"provider": "email"},
        "user_metadata": {"name": "Ann"},
        **changes,
    }
    return {name: value for name, value in all_claims.items() if value is not None}


@define
class Provider:
    """The two questions of `IdentityProvider`, counted; `failure` makes it answer with an error."""

    keys: Sequence[Mapping[str, Any]] = ()
    user: AuthUser | None = None
    failure: AppError | None = None
    fetches: int = 0
    lookups: list[str] = field(factory=list)

    async def signing_keys(self) -> Sequence[Mapping[str, Any]]:
        self.fetches += 1
        if self.failure is not None:
            raise self.failure
        return self.keys

    async def get_user(self, token: str) -> AuthUser:
        self.lookups.append(token)
        if self.failure is not None:
            raise self.failure
        assert self.user is not None
        return self.user
