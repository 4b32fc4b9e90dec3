"""Visitors told apart without keeping their addresses (`spec/database.md` §2.6)."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import sha256

from attrs import frozen

from cookcam.settings.readers import Secret


@frozen
class Visitors:
    """Hashes of addresses under a key that is another one each day: days cannot be joined."""

    secret: Secret

    def hash(self, address: str, at: datetime) -> str:
        day = at.astimezone(UTC).date().isoformat()
        key = _mac(self.secret.reveal().encode(), f"cookcam affiliate clicks {day}").digest()
        return _mac(key, address).hexdigest()


def _mac(key: bytes, text: str) -> hmac.HMAC:
    return hmac.new(key, text.encode(), sha256)
