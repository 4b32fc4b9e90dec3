"""Pseudonymous visitor ids, so that visitors are counted without storing their IP addresses."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import sha256

from attrs import frozen

from cookcam.config.readers import Secret


@frozen
class Visitors:
    """Hashes addresses under a daily key, so visits of different days cannot be linked."""

    secret: Secret

    def hash(self, address: str, at: datetime) -> str:
        day = at.astimezone(UTC).date().isoformat()
        key = _mac(self.secret.reveal().encode(), f"cookcam affiliate clicks {day}").digest()
        return _mac(key, address).hexdigest()


def _mac(key: bytes, text: str) -> hmac.HMAC:
    return hmac.new(key, text.encode(), sha256)
