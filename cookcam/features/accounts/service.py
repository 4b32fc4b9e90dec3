"""The rules of accounts: the provider keeps identities and sessions, we keep profiles."""

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
from cookcam.features.rewards.xp.models import Award
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity
from cookcam.integrations.supabase.auth_errors import (
    AccountExists,
    AuthRejected,
    PasswordRejected,
)
from cookcam.integrations.supabase.client import SupabaseAuth
from cookcam.integrations.supabase.sessions import AuthSession, SignedUp

log = structlog.get_logger(__name__)


class SignUpRejected(ValidationError):
    """The provider would not make this account. Its words fit a taken address and any other."""

    code = "SIGNUP_ERROR"
    default_message = "This account could not be created. If you have one already, please sign in."


@frozen
class Cards:
    """What everybody may know of people."""

    store: ProfileStore

    async def of(self, user_ids: Iterable[UUID]) -> Mapping[UUID, PublicCard]:
        """The cards of these people, in one read; unknown ids are left out."""
        wanted = set(user_ids)
        found = await self.store.cards(wanted) if wanted else []
        return {card.id: card for card in found}


@frozen
class Profiles:
    """The row behind each identity."""

    store: ProfileStore
    entitlements: Entitlements
    xp: Xp

    async def of(self, caller: Identity) -> Profile:
        """The caller's profile, made if it is missing; NotFound only when the account is gone."""
        profile = await self.store.find(caller.user_id)
        if profile is None:
            await self.make(caller.user_id, caller.email, caller.name)
            profile = await self.store.find(caller.user_id)
        if profile is None:
            raise _not_found()
        return profile

    async def change(self, caller: Identity, changes: ProfileChanges) -> Profile:
        """The profile after the changes; without any, as it is.

        `is_creator` needs the creator entitlement, else CreatorRequired, and nothing is changed.
        Whoever becomes a creator is paid BECOME_CREATOR once in a life, in the same transaction.
        Raises ValidationError for a name that is blank, NotFound when the account is gone.
        """
        profile = await self.of(caller)
        if changes.nothing:
            return profile
        if changes.name is not None:
            changes = evolve(changes, name=checked_name(changes.name, longest=100))
        if changes.is_creator:
            await self.entitlements.require_creator(caller.user_id)
        award = None
        async with self.store.changing(caller.user_id) as row:
            profile = await row.update(changes)
            if changes.is_creator:
                if not profile.is_creator:  # the subscription ended in this very moment
                    raise CreatorRequired()
                award = await self._welcome(row.tx, profile)
                profile = await row.read()
        if award is not None:
            self.xp.announce(award)
        return profile

    async def _welcome(self, tx: Transaction, creator: Profile) -> Award:
        return await self.xp.award(
            tx,
            creator.id,
            "BECOME_CREATOR",
            subject=str(creator.id),
            metadata={
                "creator_tier": creator.creator_tier,
                "specialty": creator.creator_specialty,
            },
        )

    async def cards(self, user_ids: Iterable[UUID]) -> Mapping[UUID, PublicCard]:
        """`Cards.of`."""
        return await Cards(self.store).of(user_ids)

    async def make(self, user_id: UUID, email: str | None, name: str | None) -> None:
        """The row, if it is missing. Raises NotFound when there is no such account."""
        try:
            await self.store.create(user_id, email, name)
        except ForeignKeyError:
            raise _not_found() from None


@frozen
class Accounts:
    """Signing up, in and out: the provider's sessions, in this program's words.

    Raises ServiceUnavailable, never a refusal, when the provider does not answer.
    """

    provider: SupabaseAuth
    profiles: Profiles

    async def sign_up(self, email: str, password: str, name: str) -> SignedUp:
        """A new account and its profile. Raises ValidationError, SignUpRefused.

        A taken address and any other refusal read the same: who has an account is not told.
        """
        address = checked_email(email)
        checked_new_password(password)
        name = checked_name(name)
        try:
            made = await self.provider.sign_up(address, password, name)
        except PasswordRejected as refused:
            raise SignUpRejected(refused.message, error=refused.message) from None
        except (AccountExists, AuthRejected):
            raise SignUpRejected(error="Failed to create user") from None
        try:
            await self.profiles.make(made.user.id, address, name)
        except AppError as error:
            # The sign-up trigger makes the row too, and the first profile read would.
            log.warning("profile not made at sign-up", reason=error.code)
        return made

    async def sign_in(self, email: str, password: str) -> AuthSession:
        """A new session; `email` as `checked_email` returns it.

        Raises InvalidCredentials, and EmailNotConfirmed to who knows the password.
        """
        try:
            return await self.provider.sign_in(email, password)
        except InvalidCredentials:
            log.warning("auth_failure", reason="bad credentials")
            raise InvalidCredentials(error=InvalidCredentials.default_message) from None
        except EmailNotConfirmed:
            raise EmailNotConfirmed(error=EmailNotConfirmed.default_message) from None

    async def refresh(self, refresh_token: str) -> AuthSession:
        """The next session. Raises AuthenticationError for a token that is not good."""
        try:
            return await self.provider.refresh(refresh_token)
        except AuthenticationError as refused:
            raise AuthenticationError(refused.message, error="Invalid refresh token") from None

    async def sign_out(self, token: str) -> None:
        """Ends the session of this access token, on this device and no other."""
        await self.provider.sign_out(token)


def _not_found() -> NotFound:
    return NotFound("User profile not found", error="User profile not found")
