"""Random session ids and invite codes, from an alphabet without the ambiguous i, l, o and u."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX: Final = "session_"
ID_LENGTH: Final = 26
CODE_LENGTH: Final = 16
"""80 bits: too many to guess, also by brute force on a leaked hash."""


def new_session_id() -> str:
    return PREFIX + _random(ID_LENGTH)


def new_invite_code() -> str:
    return _random(CODE_LENGTH)


def hash_invite_code(invite_code: str) -> str:
    """The SHA-256 hash of an invite code, in hex. Only the hash is stored."""
    return hashlib.sha256(invite_code.encode("utf-8", "surrogatepass")).hexdigest()


def matches_hash(invite_code: str, code_hash: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(hash_invite_code(invite_code), code_hash)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
