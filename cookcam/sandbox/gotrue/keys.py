"""The signing key of the fake: ES256, as a current Supabase project has.

Made on first use and kept in a file of mode 0600, so that tokens outlive a restart.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from attrs import frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from cookcam.sandbox.keys import pem_of

_TEN_YEARS = 10 * 365 * 86_400


@frozen
class SigningKey:
    private: ec.EllipticCurvePrivateKey
    kid: str

    @classmethod
    def generate(cls) -> SigningKey:
        return cls._of(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def kept_in(cls, path: Path) -> SigningKey:
        """The key of the file, which is made if it is not there."""
        if path.exists():
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(private, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{path} holds no elliptic curve key")
            return cls._of(private)
        made = cls.generate()
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(pem_of(made.private))
        return made

    @classmethod
    def _of(cls, private: ec.EllipticCurvePrivateKey) -> SigningKey:
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(private, str(UUID(bytes=hashlib.sha256(public).digest()[:16])))

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(
            dict(claims), self.private, algorithm="ES256", headers={"kid": self.kid, "typ": "JWT"}
        )

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token this key signed and that has not expired.

        Raises jwt.InvalidTokenError for any other.
        """
        return jwt.decode(
            token,
            self.private.public_key(),
            algorithms=["ES256"],
            options={"verify_aud": False},
        )

    def jwks(self) -> dict[str, Any]:
        public = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {
            "keys": [
                {**public, "kid": self.kid, "alg": "ES256", "use": "sig", "key_ops": ["verify"]}
            ]
        }

    def api_key(self, role: str) -> str:
        """A project key: a token of long life with nothing but a role."""
        now = int(time.time())
        return self.sign(
            {"iss": "supabase", "ref": "sandbox", "role": role, "iat": now, "exp": now + _TEN_YEARS}
        )
