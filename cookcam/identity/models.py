"""The identity of a caller, for HTTP and for sockets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from attrs import Factory, field, frozen

from cookcam.database.actors import encode_claims


@frozen
class Identity:
    """A verified caller. Created only by `Authenticator.identify`.

    It is an actor of `cookcam.database`: `transaction_as(identity)` gives PostgreSQL the role
    `authenticated` and the verified claims, so row-level security holds for this caller.

    `name` comes from metadata that its user can edit: show it, grant nothing for it. `claims` are
    the verified claims with `role` forced to `authenticated`. Personal data stays out of `repr`.
    """

    user_id: UUID
    email: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    session_id: str | None = None
    claims: Mapping[str, Any] = field(factory=dict[str, Any], repr=False, eq=False)
    claims_json: str = field(
        default=Factory(encode_claims, takes_self=True), init=False, repr=False, eq=False
    )

    @property
    def database_role(self) -> Literal["authenticated"]:
        """Always the role of an ordinary user, independent of the token."""
        return "authenticated"

    @property
    def is_admin(self) -> bool:
        """Whether `app_metadata`, which only the service key can write, makes the user an
        administrator."""
        metadata: object = self.claims.get("app_metadata")
        return isinstance(metadata, dict) and cast("Any", metadata).get("role") == "admin"
