"""Accounts and profiles. Supabase Auth stores identities and sessions; `users` stores profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import structlog
from attrs import evolve, frozen

from cookcam.database import Transaction
from cookcam.errors import (
    AppError,
    AuthenticationError,
    EmailNotConfirmed,
    ForeignKeyError,
    InvalidCredentials,
    NotFound,
    ValidationError,
)
from cookcam.features.accounts.credentials import (
    checked_email,
    checked_name,
    checked_new_password,
)
from cookcam.features.accounts.models import Profile, ProfileChanges, PublicCard
from cookcam.features.accounts.store import ProfileStore
from cookcam.features.billing.errors import CreatorRequired
from cookcam.features.billing.tiers.service import Entitlements
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Authenticator, Identity
from cookcam.integrations.supabase.auth_errors import (
    AccountExists,
    AuthRejected,
    PasswordRejected,
)
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.integrations.supabase.sessions import AuthSession, SignedUp

log = structlog.get_logger(__name__)


class SignUpRejected(ValidationError):
    """The provider rejected the sign-up. The message is the same for a registered address."""

    code = "SIGNUP_ERROR"
    default_message = "This account could not be created. If you have one already, please sign in."


@frozen
class PublicCards:
    """Public profile summaries of users."""

    store: ProfileStore

    async def of(self, user_ids: Iterable[UUID]) -> Mapping[UUID, PublicCard]:
        """The cards of the users in one read; unknown ids are omitted."""
        ids = set(user_ids)
        cards = await self.store.cards(ids) if ids else []
        return {card.id: card for card in cards}

    async def name_of(self, user_id: UUID) -> str | None:
        """The name in the user's profile; None without a profile. Raises ServiceUnavailable."""
        card = (await self.of([user_id])).get(user_id)
        return None if card is None else card.name


@frozen
class Profiles:
    """The profile row of each identity."""

    store: ProfileStore
    entitlements: Entitlements
    xp: Xp

    async def of(self, caller: Identity) -> Profile:
        """The caller's profile, created when missing. Raises NotFound for a deleted account."""
        profile = await self.store.find(caller.user_id)
        if profile is None:
            await self.create(caller.user_id, caller.email, caller.name)
            profile = await self.store.find(caller.user_id)
        if profile is None:
            raise _not_found()
        return profile

    async def json_of(self, caller: Identity) -> bytes:
        """`of` as JSON, in one read unless the profile is missing."""
        profile = await self.store.find_json(caller.user_id)
        if profile is None:
            await self.of(caller)
            profile = await self.store.find_json(caller.user_id)
        if profile is None:
            raise _not_found()
        return profile

    async def change(self, caller: Identity, changes: ProfileChanges) -> Profile:
        """Apply `changes` and return the profile.

        `is_creator` requires the creator entitlement; without it CreatorRequired is raised and
        nothing changes. The first change to creator awards BECOME_CREATOR XP, once per user, in
        the same transaction. Raises ValidationError for a blank name, NotFound for a deleted
        account.
        """
        profile = await self.of(caller)
        if changes.is_empty:
            return profile
        if changes.name is not None:
            changes = evolve(changes, name=checked_name(changes.name, max_length=100))
        if changes.is_creator:
            await self.entitlements.require_creator(caller.user_id)
        async with self.store.locked(caller.user_id) as row:
            profile = await row.update(changes)
            if changes.is_creator:
                if not profile.is_creator:  # the subscription ended meanwhile
                    raise CreatorRequired()
                await self._award_creator_xp(row.tx, profile)
                profile = await row.read()
        return profile

    async def _award_creator_xp(self, tx: Transaction, creator: Profile) -> None:
        await self.xp.award(
            tx,
            creator.id,
            "BECOME_CREATOR",
            subject=str(creator.id),
            metadata={
                "creator_tier": creator.creator_tier,
                "specialty": creator.creator_specialty,
            },
        )

    async def create(self, user_id: UUID, email: str | None, name: str | None) -> None:
        """Create the row unless it exists. Raises NotFound for an unknown account."""
        try:
            await self.store.create(user_id, email, name)
        except ForeignKeyError:
            raise _not_found() from None


@frozen
class Accounts:
    """Sign-up, sign-in and sign-out through the identity provider.

    Raises ServiceUnavailable, never a credentials error, when the provider does not respond.
    """

    provider: SupabaseAuth
    authenticator: Authenticator
    profiles: Profiles

    async def sign_up(self, email: str, password: str, name: str) -> SignedUp:
        """Create an account and its profile. Raises ValidationError, SignUpRejected.

        A registered address gets the same response as any other rejection, so that the route does
        not disclose who has an account.
        """
        address = checked_email(email)
        checked_new_password(password)
        name = checked_name(name)
        try:
            user_session = await self.provider.sign_up(address, password, name)
        except PasswordRejected as rejection:
            raise SignUpRejected(rejection.message, error=rejection.message) from None
        except (AccountExists, AuthRejected):
            raise SignUpRejected(error="Failed to create user") from None
        try:
            await self.profiles.create(user_session.user.id, address, name)
        except AppError as error:
            # The sign-up trigger also creates the row, and so does the first profile read.
            log.warning("profile not created at sign-up", reason=error.code)
        return user_session

    async def sign_in(self, email: str, password: str) -> AuthSession:
        """A new session; `email` as returned by `checked_email`.

        Raises InvalidCredentials, or EmailNotConfirmed when the password is correct.
        """
        try:
            return await self.provider.sign_in(email, password)
        except InvalidCredentials:
            log.warning("auth_failure", reason="bad credentials")
            raise InvalidCredentials(error=InvalidCredentials.default_message) from None
        except EmailNotConfirmed:
            raise EmailNotConfirmed(error=EmailNotConfirmed.default_message) from None

    async def refresh(self, refresh_token: str) -> AuthSession:
        """The next session. Raises AuthenticationError for an invalid token."""
        try:
            return await self.provider.refresh(refresh_token)
        except AuthenticationError as rejection:
            raise AuthenticationError(rejection.message, error="Invalid refresh token") from None

    async def sign_out(self, token: str) -> None:
        """End the session of this access token; other devices stay signed in."""
        await self.provider.sign_out(token)
        self.authenticator.forget(token)


def _not_found() -> NotFound:
    return NotFound("User profile not found", error="User profile not found")
