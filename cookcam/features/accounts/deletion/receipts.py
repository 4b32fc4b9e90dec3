"""Signed receipts of deletions, without personal data, and the address to which one is mailed.

A receipt is a JWT (HS256). Its key is derived from a project secret for this purpose only, so that
a receipt can be verified later and is never accepted as an access token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from attrs import field, frozen

from cookcam.config.secret import Secret
from cookcam.errors import ValidationError
from cookcam.features.accounts.deletion.models import Job

ISSUER: Final = "cookcam/account-deletions"
MAX_LENGTH: Final = 20_000
NONCE_LENGTH: Final = 12


@frozen
class Receipts:
    """`secrets` are JWT_SECRET, or the service key of a project that signs with asymmetric keys.
    The first is used for new receipts, addresses and keys; the others are accepted."""

    secrets: Sequence[Secret] = field(repr=False)

    def sign(self, job: Job) -> str:
        """The receipt of a job that has deleted data and identity."""
        import jwt  # not at the top: with cryptography it takes a tenth of the time to start

        if job.deleted_at is None:
            raise ValueError("the deletion is not completed")
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "jti": str(job.id),
            "requested": int(job.requested_at.timestamp()),
            "iat": int(job.deleted_at.timestamp()),
            "rows": job.row_counts,
            "files": job.file_counts if job.status == "completed" else "being deleted",
            "subscriptions": job.subscriptions or {},
        }
        return jwt.encode(claims, _key(self.secrets[0], "receipt"), algorithm="HS256")

    def verify(self, receipt: str) -> Mapping[str, Any]:
        """The claims of a receipt. Raises ValidationError for an invalid signature."""
        import jwt

        for secret in self.secrets if len(receipt) <= MAX_LENGTH else ():
            with suppress(jwt.InvalidTokenError):
                return jwt.decode(
                    receipt,
                    _key(secret, "receipt"),
                    algorithms=["HS256"],
                    issuer=ISSUER,
                    # Clocks of two instances differ: `iat` may be in the next second.
                    options={"require": ["iss", "jti", "iat"], "verify_iat": False},
                )
        raise ValidationError("Invalid receipt", error="Invalid receipt")

    def hashes_of(self, user_id: UUID) -> Sequence[str]:
        """The keys under which the user's job may be stored, one for each secret; a new job gets
        the first. The job stays when the user's rows are deleted, so its key is a hash."""
        return [
            hmac.new(_key(secret, "user"), user_id.bytes, hashlib.sha256).hexdigest()
            for secret in self.secrets
        ]

    def seal_address(self, email: str, user_hash: str) -> bytes:
        """Encrypt the address for the receipt (AES-256-GCM): it outlives the account."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(NONCE_LENGTH)
        cipher = AESGCM(_key(self.secrets[0], "address"))
        return nonce + cipher.encrypt(nonce, email.encode(), user_hash.encode())

    def open_address(self, ciphertext: bytes, user_hash: str) -> str | None:
        """The address; None when it was encrypted with an unknown key."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, rest = ciphertext[:NONCE_LENGTH], ciphertext[NONCE_LENGTH:]
        for secret in self.secrets:
            with suppress(InvalidTag):
                cipher = AESGCM(_key(secret, "address"))
                return cipher.decrypt(nonce, rest, user_hash.encode()).decode()
        return None


def _key(secret: Secret, purpose: str) -> bytes:
    label = f"cookcam account deletion {purpose}".encode()
    return hmac.new(secret.reveal().encode(), label, hashlib.sha256).digest()
