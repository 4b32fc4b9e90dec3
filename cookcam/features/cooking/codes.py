"""Ids and invite codes: random, from an alphabet without letters that are mistaken for others."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX: Final = "session_"
ID_LENGTH: Final = 26
CODE_LENGTH: Final = 16
"""80 bits: beyond guessing, also for whoever reads the hash."""


def new_session_id() -> str:
    """Source: `spec/realtime.md` §5.2."""
    return PREFIX + _random(ID_LENGTH)


def new_invite_code() -> str:
    return _random(CODE_LENGTH)


def hashed(invite_code: str) -> str:
    """What is stored of an invite code."""
    return hashlib.sha256(invite_code.encode("utf-8", "surrogatepass")).hexdigest()


def matches(invite_code: str, code_hash: str) -> bool:
    """In a time that tells nothing about the code."""
    return hmac.compare_digest(hashed(invite_code), code_hash)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
