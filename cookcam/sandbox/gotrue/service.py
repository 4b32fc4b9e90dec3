"""The rules of Supabase Auth that the product meets: grants, rotation, scopes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import jwt
import trio
from attrs import define, field, frozen

from cookcam.sandbox.gotrue import faults, shapes
from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.gotrue.store import RefreshTokenRow, Rows, SessionRow, Store, UserRow
from cookcam.sandbox.serving import Faults

_ADDRESS = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_TERM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_TERM.pattern})+")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_APP_METADATA = {"provider": "email", "providers": ["email"]}
_LINK_LASTS = timedelta(hours=1)
MIN_PASSWORD_LENGTH = 6
MAX_PASSWORD_BYTES = 72  # bcrypt reads no more, so the real service rejects more
SCRYPT_COST = 12
"""The base-2 logarithm of n; a hash takes about 10 ms. The passwords are of this machine only."""


@define
class Behaviour(Faults):
    """Settings of Auth; times are in seconds.

    A refresh token may be used again within `reuse_interval` of its first use, as Supabase's
    default of 10 s allows; later use ends the session.
    """

    confirm_email: bool = False
    token_lifetime: int = 3600
    reuse_interval: float = 10.0


@frozen
class Mail:
    """A mail that the real service would send: the `link` in it is good once, for an hour."""

    to: str
    type: str
    link: str = field(repr=False)
    token: str = field(repr=False)
    sent_at: datetime


@frozen
class Auth:
    """Every method raises AuthFault with what the real service would answer.

    `mails` are those it would have sent, oldest first.
    """

    store: Store
    key: SigningKey
    issuer: str
    behaviour: Behaviour
    mails: list[Mail] = field(factory=list[Mail], init=False, repr=False)
    _links: dict[str, tuple[UUID, datetime]] = field(
        factory=dict[str, tuple[UUID, datetime]], init=False, repr=False
    )

    async def sign_up(self, email: str, password: str, data: dict[str, Any]) -> dict[str, Any]:
        """A session, or the bare user while the address has to be confirmed."""
        email = _address(email)
        hashed = await _hashed(password)
        confirm = self.behaviour.confirm_email

        def work(rows: Rows) -> dict[str, Any]:
            row = rows.add_user(email, hashed, data, dict(_APP_METADATA), confirmed=not confirm)
            if row is not None:
                return shapes.pending_json(row) if confirm else self._open(rows, row)
            existing = rows.user_by_email(email)
            if not confirm or existing is None:
                raise faults.error("user_already_exists")
            unconfirmed = existing.email_confirmed_at is None
            return shapes.pending_json(existing) if unconfirmed else shapes.decoy_json(existing)

        return await self.store.run(work)

    async def create_user(
        self,
        email: str,
        password: str,
        user_metadata: dict[str, Any],
        app_metadata: dict[str, Any],
        *,
        confirmed: bool,
    ) -> UserRow:
        """Create a user as an administrator: no session, and roles in `app_metadata`."""
        email = _address(email)
        hashed = await _hashed(password)
        row = await self.store.run(
            lambda rows: rows.add_user(
                email, hashed, user_metadata, {**_APP_METADATA, **app_metadata}, confirmed=confirmed
            )
        )
        if row is None:
            raise faults.error("email_exists")
        return row

    async def sign_in(self, email: str, password: str) -> dict[str, Any]:
        """The password grant. The password is checked before the confirmation of the address."""
        email = email.strip().lower()
        row = await self.store.run(lambda rows: rows.user_by_email(email))
        if row is not None and row.banned:
            raise faults.user_banned()
        hashed = row.encrypted_password if row is not None else None
        good = await trio.to_thread.run_sync(_password_matches, password, hashed)
        if row is None or not good:
            raise faults.error("invalid_credentials")
        if row.email_confirmed_at is None:
            raise faults.error("email_not_confirmed")
        return await self.store.run(lambda rows: self._open(rows, row))

    async def refresh(self, token: str) -> dict[str, Any]:
        """The refresh grant: each token is good once, and a stolen one ends the session.

        A used token still counts when its successor has never been used (the client lost the
        answer: it gets the same successor again), or within the reuse interval.
        """
        answer = await self.store.run(lambda rows: self._rotate(rows, token))
        if answer is None:
            # Said after the commit: the family stays revoked.
            raise faults.error("refresh_token_already_used")
        return answer

    async def user_of(self, token: str) -> UserRow:
        """The user of a token."""
        return (await self.store.run(lambda rows: self._speaker(rows, self._claims(token))))[0]

    async def sign_out(self, token: str, scope: str) -> None:
        def work(rows: Rows) -> None:
            row, session = self._speaker(rows, self._claims(token))
            rows.end_sessions(row.id, session.id if session else None, scope)

        await self.store.run(work)

    async def recover(self, email: str, redirect_to: str) -> None:
        """Mails a link that signs in, to an address that has an account; silent about others."""
        address = _address(email)
        row = await self.store.run(lambda rows: rows.user_by_email(address))
        if row is None:
            return
        token, now = secrets.token_hex(28), datetime.now(UTC)
        self._links[token] = row.id, now
        query = urlencode({"token": token, "type": "recovery", "redirect_to": redirect_to})
        self.mails.append(Mail(address, "recovery", f"{self.issuer}/verify?{query}", token, now))

    async def verify(self, token: str) -> dict[str, Any]:
        """The session that the link of a mail opens, once."""
        user_id, made = self._links.pop(token, (None, datetime.now(UTC)))
        if user_id is None or datetime.now(UTC) - made > _LINK_LASTS:
            raise faults.error("otp_expired")

        def work(rows: Rows) -> dict[str, Any]:
            row = rows.user(user_id)
            if row is None:
                raise faults.error("otp_expired")
            if row.email_confirmed_at is None:
                rows.confirm(user_id)
            return self._open(rows, row, "otp")

        return await self.store.run(work)

    async def change_password(self, token: str, password: str) -> UserRow:
        """Change the password and end the user's other sessions, as the real service does."""
        user = await self.user_of(token)
        if await trio.to_thread.run_sync(_password_matches, password, user.encrypted_password):
            raise faults.error("same_password")
        hashed = await _hashed(password)

        def work(rows: Rows) -> UserRow:
            row, session = self._speaker(rows, self._claims(token))
            rows.set_password(row.id, hashed)
            rows.end_sessions(row.id, session.id if session else None, "others")
            return row

        return await self.store.run(work)

    async def ban_user(self, user_id: UUID, duration: str) -> UserRow:
        """`duration` as Go writes it (`24h`, `1h30m`), or `none` to lift the ban."""
        seconds = _seconds(duration) if duration != "none" else None
        until = timedelta(seconds=seconds) if seconds is not None else None
        row = await self.store.run(lambda rows: rows.ban(user_id, until))
        if row is None:
            raise faults.error("user_not_found")
        return row

    async def delete_user(self, user_id: UUID) -> None:
        if not await self.store.run(lambda rows: rows.delete_user(user_id)):
            raise faults.error("user_not_found")

    def role_of(self, token: str) -> str:
        """The database role a good token or project key carries."""
        return str(self._claims(token).get("role", ""))

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return self.key.verify(token)
        except jwt.ExpiredSignatureError:
            raise faults.bad_jwt("token has invalid claims: token is expired") from None
        except jwt.InvalidTokenError as error:
            raise faults.bad_jwt(f"token is malformed: {error}") from None

    def _speaker(self, rows: Rows, claims: dict[str, Any]) -> tuple[UserRow, SessionRow | None]:
        try:
            user_id = UUID(claims.get("sub", ""))
            session_id = UUID(claims["session_id"]) if claims.get("session_id") else None
        except ValueError:
            raise faults.AuthFault(403, "bad_jwt", "invalid claim: missing sub claim") from None
        row = rows.user(user_id)
        if row is None:
            raise faults.AuthFault(
                403, "user_not_found", "User from sub claim in JWT does not exist"
            )
        if row.banned:
            raise faults.user_banned(403)
        session = rows.session(session_id) if session_id else None
        if session_id and session is None:
            raise faults.error("session_not_found")
        return row, session

    def _open(self, rows: Rows, row: UserRow, method: str = "password") -> dict[str, Any]:
        session = rows.add_session(row.id, method)
        token = _new_refresh_token()
        rows.add_refresh_token(token, session.id, None)
        return self._answer(rows, session, token)

    def _rotate(self, rows: Rows, token: str) -> dict[str, Any] | None:
        found = rows.refresh_token(token)
        session = rows.session(found.session_id) if found else None
        # Read again under the lock: another request may have rotated it meanwhile.
        found = rows.refresh_token(token)
        if found is None or session is None:
            raise faults.error("refresh_token_not_found")
        row = rows.user(session.user_id)
        if row is not None and row.banned:
            raise faults.user_banned(message="Invalid Refresh Token: User Banned")
        if found.revoked:
            active = rows.active_refresh_token(session.id)
            if active is not None and active.parent == token:
                return self._answer(rows, session, active.token)
            if found.age > self.behaviour.reuse_interval:
                rows.revoke_family(session.id)
                return None
        return self._answer(rows, session, self._swap(rows, found))

    def _swap(self, rows: Rows, found: RefreshTokenRow) -> str:
        rows.revoke(found.token)
        token = _new_refresh_token()
        rows.add_refresh_token(token, found.session_id, found.token)
        return token

    def _answer(self, rows: Rows, session: SessionRow, refresh_token: str) -> dict[str, Any]:
        row = rows.user(session.user_id)
        if row is None:
            raise faults.error("user_not_found")
        lifetime = self.behaviour.token_lifetime
        claims = shapes.access_claims(row, session, self.issuer, lifetime)
        return {
            "access_token": self.key.sign(claims),
            "token_type": "bearer",
            "expires_in": lifetime,
            "expires_at": claims["exp"],
            "refresh_token": refresh_token,
            "user": shapes.user_json(row),
            "weak_password": None,
        }


def _seconds(duration: str) -> float:
    if not _DURATION.fullmatch(duration):
        raise faults.validation_failed("invalid format for ban duration: " + duration)
    return sum(float(number) * _UNITS[unit] for number, unit in _TERM.findall(duration))


def _address(email: str) -> str:
    address = email.strip().lower()
    if not _ADDRESS.fullmatch(address):
        raise faults.validation_failed("Unable to validate email address: invalid format")
    return address


async def _hashed(password: str) -> str:
    if not password:
        raise faults.validation_failed("Signup requires a valid password")
    if len(password) < MIN_PASSWORD_LENGTH:
        raise faults.AuthFault(
            422,
            "weak_password",
            f"Password should be at least {MIN_PASSWORD_LENGTH} characters.",
            {"weak_password": {"reasons": ["length"]}},
        )
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise faults.validation_failed(
            f"Password cannot be longer than {MAX_PASSWORD_BYTES} characters"
        )
    return await trio.to_thread.run_sync(_hash_password, password)


def _new_refresh_token() -> str:
    return secrets.token_hex(6)


def _hash_password(password: str) -> str:
    """scrypt, in the text form `scrypt$<log2 n>$<salt>$<hash>` (hex)."""
    salt = secrets.token_bytes(16)
    return f"scrypt${SCRYPT_COST}${salt.hex()}${_scrypt(password, salt, SCRYPT_COST).hex()}"


def _password_matches(password: str, hashed: str | None) -> bool:
    """Whether `hashed` is of `password`; False for a hash of another kind."""
    parts = (hashed or "").split("$")
    if len(parts) != 4 or parts[0] != "scrypt":
        return False
    expected = bytes.fromhex(parts[3])
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(parts[2]), int(parts[1])), expected)


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**cost, r=8, p=1, dklen=32)
