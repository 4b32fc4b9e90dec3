"""The JSON of a user and of a session, as Supabase Auth gives them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from cookcam.sandbox.gotrue.store import SessionRow, UserRow

AUDIENCE = "authenticated"
ROLE = "authenticated"


def user_json(row: UserRow) -> dict[str, Any]:
    """The user object; its one identity is derived from the row."""
    email = row.email or ""
    banned = {"banned_until": _time(row.banned_until)} if row.banned_until else {}
    return {
        "id": str(row.id),
        "aud": AUDIENCE,
        "role": ROLE,
        "email": email,
        **banned,
        "email_confirmed_at": _time(row.email_confirmed_at),
        "phone": "",
        "confirmed_at": _time(row.email_confirmed_at),
        "last_sign_in_at": _time(row.last_sign_in_at),
        "app_metadata": row.app_metadata or {},
        "user_metadata": row.user_metadata or {},
        "identities": [
            {
                "identity_id": str(uuid5(row.id, "email")),
                "id": str(row.id),
                "user_id": str(row.id),
                "identity_data": {
                    "email": email,
                    "email_verified": row.email_confirmed_at is not None,
                    "phone_verified": False,
                    "sub": str(row.id),
                },
                "provider": "email",
                "last_sign_in_at": _time(row.last_sign_in_at or row.created_at),
                "created_at": _time(row.created_at),
                "updated_at": _time(row.updated_at),
                "email": email,
            }
        ],
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
        "is_anonymous": False,
    }


def pending_json(row: UserRow) -> dict[str, Any]:
    """A user whose address still has to be confirmed."""
    shown = user_json(row)
    del shown["email_confirmed_at"], shown["confirmed_at"], shown["last_sign_in_at"]
    return {**shown, "confirmation_sent_at": _time(row.created_at)}


def decoy_json(row: UserRow) -> dict[str, Any]:
    """The response to a sign-up with a taken address while confirmation is on."""
    now = datetime.now(UTC)
    return {
        "id": str(uuid4()),
        "aud": AUDIENCE,
        "role": "",
        "email": row.email,
        "phone": "",
        "confirmation_sent_at": _time(now),
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "identities": [],
        "created_at": _time(now),
        "updated_at": _time(now),
        "is_anonymous": False,
    }


def access_claims(row: UserRow, session: SessionRow, issuer: str, lifetime: int) -> dict[str, Any]:
    """The claims of an access token of a session."""
    return {
        **basic_claims(row.id, issuer, lifetime),
        "email": row.email or "",
        "phone": "",
        "app_metadata": row.app_metadata or {},
        "user_metadata": row.user_metadata or {},
        "amr": [{"method": session.method, "timestamp": int(session.created_at.timestamp())}],
        "session_id": str(session.id),
    }


def basic_claims(user_id: UUID, issuer: str, lifetime: int) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp())
    return {
        "iss": issuer,
        "sub": str(user_id),
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + lifetime,
        "role": ROLE,
        "aal": "aal1",
        "is_anonymous": False,
    }


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
