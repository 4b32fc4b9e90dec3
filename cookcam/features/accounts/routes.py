"""Routes of `/auth` and `/users/profile`."""

from __future__ import annotations

from typing import cast

from quart import request

from cookcam.errors import ValidationError
from cookcam.features.accounts.avatars import Avatars
from cookcam.features.accounts.credentials import checked_email
from cookcam.features.accounts.models import Profile
from cookcam.features.accounts.requests import (
    LoginRequest,
    ProfileRequest,
    SessionRefreshRequest,
    SignUpRequest,
)
from cookcam.features.accounts.responses import (
    MeResponse,
    MessageResponse,
    ProfilePhotoResponse,
    ProfileUpdateResponse,
    SessionRefreshResponse,
    SignInResponse,
    SignUpResponse,
)
from cookcam.features.accounts.service import Accounts, Profiles
from cookcam.features.accounts.sign_in_limits import limited_sign_in
from cookcam.features.accounts.sign_in_places import SignInPlaces
from cookcam.features.accounts.uploads import uploaded_file
from cookcam.features.literals import rejected_field
from cookcam.http import (
    MEBIBYTE,
    EncodedJson,
    Routes,
    document_failures,
    document_response,
    document_upload,
    errors_as,
    max_body,
    rate_limit,
    serve_in_read_only,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.http.rate_limit import AUTH
from cookcam.http.request_info import current_request_info
from cookcam.http.requests import Request
from cookcam.identity import Identity
from cookcam.identity.guards import bearer_token, signed_in, signed_in_or_deleted
from cookcam.images import IMAGE_TYPES

UNEXPECTED = "Internal server error"


def routes(accounts: Accounts, profiles: Profiles, places: SignInPlaces) -> Routes:
    bp = Routes("accounts", __name__, legacy=True)
    _sessions(bp, accounts, places)
    _profile(bp, profiles)
    return bp


def photo_routes(avatars: Avatars) -> Routes:
    bp = Routes("avatars", __name__, legacy=True)

    @bp.post("/auth/profile/photo")
    @max_body(11 * MEBIBYTE)  # a picture of 10 MiB in a form
    @errors_as(flagged=True, unexpected=UNEXPECTED)
    @signed_in
    @user_limit("avatar")
    @document_upload(*IMAGE_TYPES, field="photo")
    @document_failures(404, 422)
    @validate_response(ProfilePhotoResponse)
    async def change_photo(caller: Identity) -> ProfilePhotoResponse:
        """Set the caller's photograph: a JPEG, PNG, WebP, HEIC or AVIF up to 10 MiB.

        Sent as the file `photo` of a multipart form, or as the request body.
        """
        photo = await uploaded_file(cast("Request", request), "photo")
        if photo is None:
            raise rejected_field("A photo is required", "photo")
        return ProfilePhotoResponse.of(await avatars.replace(caller, photo))

    return bp


def _sessions(bp: Routes, accounts: Accounts, places: SignInPlaces) -> None:
    @bp.post("/auth/register")
    @bp.post("/auth/signup")
    @rate_limit(AUTH)
    @errors_as(unexpected=UNEXPECTED)
    @validate_request(SignUpRequest)
    @validate_response(SignUpResponse, 201)
    async def sign_up(data: SignUpRequest) -> tuple[SignUpResponse, int]:
        """Create an account.

        The session is null until the e-mail address is confirmed.
        """
        session = await accounts.sign_up(data.email, data.password, data.name)
        return SignUpResponse.of(session), 201

    @bp.post("/auth/signin")
    @bp.post("/auth/login")
    @serve_in_read_only
    @rate_limit(AUTH)
    @errors_as(unexpected=UNEXPECTED)
    @document_failures(401, 403)
    @validate_request(LoginRequest)
    @validate_response(SignInResponse)
    async def log_in(data: LoginRequest) -> SignInResponse:
        """Sign in with e-mail and password."""
        email = checked_email(data.email)
        async with limited_sign_in(email):
            session = await accounts.sign_in(email, data.password)
        address = current_request_info().client_address
        await places.record(session.user.id, address, request.headers.get("User-Agent", ""))
        return SignInResponse.of(session)

    @bp.post("/auth/signout")
    @bp.post("/auth/logout")
    @serve_in_read_only
    @errors_as(unexpected=UNEXPECTED)
    @signed_in_or_deleted
    @validate_response(MessageResponse)
    async def log_out(_caller: Identity) -> MessageResponse:
        """End the session of this token, on this device only."""
        await accounts.sign_out(bearer_token())
        return MessageResponse("Logged out successfully")

    @bp.post("/auth/refresh")
    @serve_in_read_only
    @rate_limit(AUTH)
    @errors_as(unexpected=UNEXPECTED)
    @document_failures(401)
    @validate_request(SessionRefreshRequest)
    @validate_response(SessionRefreshResponse)
    async def refresh(data: SessionRefreshRequest) -> SessionRefreshResponse:
        """Exchange a refresh token for the next session."""
        return SessionRefreshResponse.of(await accounts.refresh(data.token))


def _profile(bp: Routes, profiles: Profiles) -> None:
    @bp.get("/auth/me")
    @errors_as(unexpected=UNEXPECTED)
    @signed_in_or_deleted
    @document_failures(404)
    @document_response(MeResponse)
    async def me(caller: Identity) -> dict[str, EncodedJson]:
        """The caller's own profile, wrapped."""
        return {"user": EncodedJson(await profiles.json_of(caller))}

    @bp.put("/auth/profile")
    @errors_as(unexpected=UNEXPECTED)
    @signed_in
    @document_failures(404)
    @validate_request(ProfileRequest, no_field_message="No fields to update")
    @validate_response(ProfileUpdateResponse)
    async def change_me(caller: Identity, data: ProfileRequest) -> ProfileUpdateResponse:
        """Change the caller's own profile.

        With `is_creator` true and the creator entitlement, the caller becomes a creator and
        receives 500 XP once.
        """
        changes = data.changes()
        if changes.is_empty:
            raise ValidationError("No fields to update", error="No fields to update")
        return ProfileUpdateResponse(
            await profiles.change(caller, changes), "Profile updated successfully"
        )

    @bp.get("/users/profile")
    @errors_as(unexpected="Failed to fetch user profile")
    @signed_in_or_deleted
    @document_failures(404)
    @document_response(Profile)
    async def read_profile(caller: Identity) -> EncodedJson:
        """The caller's own profile: the bare row."""
        return EncodedJson(await profiles.json_of(caller))

    @bp.put("/users/profile")
    @errors_as(unexpected="Failed to update user profile")
    @signed_in
    @document_failures(404)
    @validate_request(ProfileRequest, no_field_message="No fields to update")
    @validate_response(Profile)
    async def change_profile(caller: Identity, data: ProfileRequest) -> Profile:
        """Change the caller's own profile; the response is the whole row."""
        return await profiles.change(caller, data.changes())
