"""Routes of public profiles and follows under `/users`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.social.users.responses import (
    FollowersResponse,
    FollowingResponse,
    FollowResponse,
    PublicUserResponse,
    UserListResponse,
)
from cookcam.features.social.users.service import Users, user_not_found
from cookcam.features.social.users.store import UserStore
from cookcam.http import (
    EncodedJson,
    Routes,
    document_response,
    errors_as,
    parse_uuid,
    query_integers,
    validate_querystring,
    validate_response,
)
from cookcam.http.quotas import count_costly
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in

MAX_USERS = 50
"""Users per search response; a low limit makes listing all users impractical."""

MIN_SEARCH_LENGTH = 2


class UserFilter(Struct):
    """Query of the user search. An empty `search` means no filter."""

    search: Annotated[
        str,
        Meta(
            max_length=100,
            description="how a name begins, at least 2 characters",
            extra_json_schema={"pattern": r"^(\s*|\s*\S[\s\S]*\S\s*)$"},
        ),
    ] = ""

    def prefix(self) -> str | None:
        """The name prefix to search for; None without a filter. Raises ValidationError."""
        text = self.search.strip()
        if not text:
            return None
        if len(text) < MIN_SEARCH_LENGTH:
            raise rejected_field(
                f"Search must be at least {MIN_SEARCH_LENGTH} characters", "search"
            )
        return text


def routes(store: UserStore) -> Routes:
    bp = Routes("users", __name__, legacy=True)
    _profile_routes(bp, store)
    _follow_routes(bp, Users(store), store)
    return bp


def _profile_routes(bp: Routes, store: UserStore) -> None:
    @bp.get("/users")
    @errors_as(unexpected="Failed to search users")
    @optional_caller
    @query_integers(limit=20)
    @validate_querystring(UserFilter)
    @document_response(UserListResponse)
    async def search_users(
        caller: Identity | None, limit: int, query_args: UserFilter
    ) -> EncodedJson:
        """Find users by name prefix; without a search, the users with the most XP.

        At most 50 users.
        """
        prefix = query_args.prefix()
        if prefix is not None:
            # Limits enumeration of all users prefix by prefix.
            await count_costly("people", caller and caller.user_id)
        return EncodedJson(await store.list_json(_reader(caller), prefix, min(limit, MAX_USERS)))

    @bp.get("/users/<user_id>")
    @errors_as(unexpected="Internal server error")
    @optional_caller
    @document_response(PublicUserResponse)
    async def get_user(caller: Identity | None, user_id: str) -> EncodedJson:
        """A user's public profile."""
        return _found(await store.profile_json(_reader(caller), _id(user_id)))


def _follow_routes(bp: Routes, users: Users, store: UserStore) -> None:
    @bp.post("/users/<user_id>/follow")
    @errors_as(unexpected="Failed to follow user")
    @signed_in
    @validate_response(FollowResponse)
    async def toggle_follow(caller: Identity, user_id: str) -> FollowResponse:
        """Follow a user, or unfollow a user already followed."""
        return FollowResponse.of(following=await users.toggle_follow(caller, _id(user_id)))

    @bp.delete("/users/<user_id>/follow")
    @errors_as(unexpected="Failed to unfollow user")
    @signed_in
    @validate_response(FollowResponse)
    async def unfollow(caller: Identity, user_id: str) -> FollowResponse:
        """Unfollow a user."""
        await users.unfollow(caller, _id(user_id))
        return FollowResponse.of(following=False)

    @bp.get("/users/<user_id>/followers")
    @errors_as(unexpected="Failed to fetch followers")
    @optional_caller
    @query_integers(limit=50)
    @document_response(FollowersResponse)
    async def followers(caller: Identity | None, user_id: str, limit: int) -> EncodedJson:
        """A user's followers, newest first."""
        return _found(await store.followers_json(_reader(caller), _id(user_id), limit))

    @bp.get("/users/<user_id>/following")
    @errors_as(unexpected="Failed to fetch following")
    @optional_caller
    @query_integers(limit=50)
    @document_response(FollowingResponse)
    async def following(caller: Identity | None, user_id: str, limit: int) -> EncodedJson:
        """The users that a user follows, newest first."""
        return _found(await store.following_json(_reader(caller), _id(user_id), limit))


def _id(text: str) -> UUID:
    return parse_uuid(text, user_not_found())


def _found(encoded: bytes | None) -> EncodedJson:
    if encoded is None:
        raise user_not_found()
    return EncodedJson(encoded)


def _reader(caller: Identity | None) -> UUID | None:
    return caller and caller.user_id
