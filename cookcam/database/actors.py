"""The actor that a statement runs as: a database role and the claims of a token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from attrs import Factory, field, frozen

DatabaseRole = Literal["anon", "authenticated", "service_role"]


class Actor(Protocol):
    """A database role and the claims that row-level security policies read.

    For a signed-in user these are the verified claims of the token; `sub` is the user id.
    """

    @property
    def database_role(self) -> DatabaseRole: ...

    @property
    def claims_json(self) -> str:
        """The claims as JSON, with `role` set to the database role: `encode_claims`."""
        ...


def encode_claims(actor: Any) -> str:
    """The value of `request.jwt.claims`, from `actor.claims`. An actor encodes its claims once."""
    return json.dumps({**actor.claims, "role": actor.database_role})


@frozen
class FixedActor:
    """An actor that is not a signed-in user."""

    database_role: DatabaseRole
    claims: Mapping[str, object] = field(factory=dict[str, object])
    claims_json: str = field(
        default=Factory(encode_claims, takes_self=True), init=False, eq=False, repr=False
    )


ANONYMOUS: Actor = FixedActor("anon")
"""A visitor who has not signed in: public reads."""

SERVICE: Actor = FixedActor("service_role")
"""The server itself. Row-level security does not apply: statements must filter by user."""
