"""Password hashes: scrypt, in the text form `scrypt$<log2 n>$<salt>$<hash>` (hex).

The cost is far below what a real service takes: these passwords guard a database on loopback.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_COST = 12  # log2 of scrypt's n: about 10 ms
MINIMUM = 6
MAXIMUM_BYTES = 72  # bcrypt reads no more, so the real service refuses more


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt${_COST}${salt.hex()}${_scrypt(password, salt, _COST).hex()}"


def matches(password: str, hashed: str | None) -> bool:
    """Whether `hashed` is of `password`; False for a hash of another kind."""
    parts = (hashed or "").split("$")
    if len(parts) != 4 or parts[0] != "scrypt":
        return False
    expected = bytes.fromhex(parts[3])
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(parts[2]), int(parts[1])), expected)


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**cost, r=8, p=1, dklen=32)
