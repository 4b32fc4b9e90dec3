"""Converts claims to an Identity: the checks of every token, however its signature was verified.

Pure functions; the caller passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from cookcam.identity.models import Identity
from cookcam.text import clean_line

AUDIENCE = "authenticated"
LEEWAY = 10.0
"""Seconds by which the clocks of provider and server may differ."""


class Rejected(Exception):
    """The token is invalid; the text has the reason, for the log and never for the client."""


def identity_from(claims: Mapping[str, Any], *, issuer: str, now: float) -> Identity:
    """The caller that `claims` describe. `now` is in seconds since the epoch.

    Raises Rejected unless `exp` lies ahead, `nbf` (where given) does not, `aud` holds
    "authenticated", `iss` is `issuer` and `sub` is a UUID.
    """
    expires = _seconds(claims, "exp")
    if expires is None or expires <= now - LEEWAY:
        raise Rejected("expired, or without an expiry")
    if claims.get("nbf") is not None:
        begins = _seconds(claims, "nbf")
        if begins is None or begins > now + LEEWAY:
            raise Rejected("not valid yet")
    audience: object = claims.get("aud")
    if audience != AUDIENCE and not (isinstance(audience, list) and AUDIENCE in audience):
        raise Rejected("made for another audience")
    if claims.get("iss") != issuer:
        raise Rejected("made by another issuer")
    return Identity(
        user_id=_user_id(claims),
        email=_text(claims, "email"),
        name=clean_line(_text(_metadata(claims), "name") or "") or None,
        expires_at=_moment(expires),
        session_id=_text(claims, "session_id"),
        claims={**claims, "role": AUDIENCE},
    )


def has_current_times(claims: Mapping[str, Any], now: float) -> bool:
    """Whether `exp` lies ahead and `nbf`, where given, does not, for claims checked before."""
    return claims["exp"] > now - LEEWAY and (claims.get("nbf") or 0) <= now + LEEWAY


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value: object = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise Rejected("an expiry that is no date") from None


def _user_id(claims: Mapping[str, Any]) -> UUID:
    try:
        return UUID(_text(claims, "sub") or "")
    except ValueError:
        raise Rejected("a subject that is no user id") from None


def _metadata(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata: object = claims.get("user_metadata")
    return cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {}


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value: object = claims.get(name)
    return value if isinstance(value, str) and value else None
