"""Receipts as the history keeps them: encrypted, so that a copy of the database has none.

AES-256-GCM under a key derived from `IAP_RECEIPT_KEY`; what is sealed is bound to its hash. The
form is one byte of version, twelve of nonce, then the ciphertext with its tag.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from attrs import frozen

from cookcam.config.readers import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
NONCE = 12


@frozen
class Vault:
    """Without a key nothing is kept."""

    key: Secret | None

    def seal(self, receipt: str, receipt_hash: str) -> bytes | None:
        if self.key is None:
            return None
        nonce = secrets.token_bytes(NONCE)
        sealed = self._cipher(self.key).encrypt(nonce, receipt.encode(), receipt_hash.encode())
        return VERSION + nonce + sealed

    def open(self, sealed: bytes, receipt_hash: str) -> str:
        """For an audit. Raises ValueError for another key, another hash, or damage."""
        from cryptography.exceptions import InvalidTag

        if self.key is None or sealed[:1] != VERSION:
            raise ValueError("not sealed with this key")
        nonce, rest = sealed[1 : 1 + NONCE], sealed[1 + NONCE :]
        try:
            return self._cipher(self.key).decrypt(nonce, rest, receipt_hash.encode()).decode()
        except InvalidTag:
            raise ValueError("not sealed with this key") from None

    @staticmethod
    def _cipher(key: Secret) -> AESGCM:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"cookcam receipts 1"
        ).derive(key.reveal().encode())
        return AESGCM(derived)
