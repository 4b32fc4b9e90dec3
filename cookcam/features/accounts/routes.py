"""`/auth` and `/users/profile` (`spec/http-api-core.md` §6, §7)."""

from __future__ import annotations

from cookcam.features.accounts.answers import (
    MeAnswer,
    MessageAnswer,
    RefreshedAnswer,
    SignedInAnswer,
    SignedUpAnswer,
)
from cookcam.features.accounts.credentials import checked_email
from cookcam.features.accounts.models import Profile
from cookcam.features.accounts.requests import (
    LoginRequest,
    ProfileRequest,
    RefreshRequest,
    SignUpRequest,
)
from cookcam.features.accounts.service import Accounts, Profiles
from cookcam.identity import Identity
from cookcam.identity.guards import bearer_token, signed_in
from cookcam.web import Routes, errors_as, spend, validate_request, validate_response

UNEXPECTED = "Internal server error"


def routes(accounts: Accounts, profiles: Profiles) -> Routes:
    bp = Routes("accounts", __name__, legacy=True)
    _sessions(bp, accounts)
    _profile(bp, profiles)
    return bp


def _sessions(bp: Routes, accounts: Accounts) -> None:
    @bp.post("/auth/register")
    @bp.post("/auth/signup")
    @errors_as(unexpected=UNEXPECTED)
    @validate_request(SignUpRequest)
    @validate_response(SignedUpAnswer, 201)
    async def sign_up(data: SignUpRequest) -> tuple[SignedUpAnswer, int]:
        """Create an account.

        The session is null while the e-mail address waits to be confirmed.
        """
        made = await accounts.sign_up(data.email, data.password, data.name)
        return SignedUpAnswer.of(made), 201

    @bp.post("/auth/signin")
    @bp.post("/auth/login")
    @errors_as(unexpected=UNEXPECTED)
    @validate_request(LoginRequest)
    @validate_response(SignedInAnswer)
    async def log_in(data: LoginRequest) -> SignedInAnswer:
        """Sign in with e-mail and password."""
        email = checked_email(data.email)
        spend("auth", email)
        return SignedInAnswer.of(await accounts.sign_in(email, data.password))

    @bp.post("/auth/signout")
    @bp.post("/auth/logout")
    @errors_as(unexpected=UNEXPECTED)
    @signed_in
    @validate_response(MessageAnswer)
    async def log_out(_caller: Identity) -> MessageAnswer:
        """End the session of this token, on this device only."""
        await accounts.sign_out(bearer_token())
        return MessageAnswer("Logged out successfully")

    @bp.post("/auth/refresh")
    @errors_as(unexpected=UNEXPECTED)
    @validate_request(RefreshRequest)
    @validate_response(RefreshedAnswer)
    async def refresh(data: RefreshRequest) -> RefreshedAnswer:
        """Exchange a refresh token for the next session."""
        return RefreshedAnswer.of(await accounts.refresh(data.token))


def _profile(bp: Routes, profiles: Profiles) -> None:
    @bp.get("/auth/me")
    @errors_as(unexpected=UNEXPECTED)
    @signed_in
    @validate_response(MeAnswer)
    async def me(caller: Identity) -> MeAnswer:
        """The caller's own profile, wrapped."""
        return MeAnswer(await profiles.of(caller))

    @bp.get("/users/profile")
    @errors_as(unexpected="Failed to fetch user profile")
    @signed_in
    @validate_response(Profile)
    async def read_profile(caller: Identity) -> Profile:
        """The caller's own profile: the bare row."""
        return await profiles.of(caller)

    @bp.put("/users/profile")
    @errors_as(unexpected="Failed to update user profile")
    @signed_in
    @validate_request(ProfileRequest)
    @validate_response(Profile)
    async def change_profile(caller: Identity, data: ProfileRequest) -> Profile:
        """Change the caller's own profile; the answer is the whole row."""
        return await profiles.change(caller, data.changes())
