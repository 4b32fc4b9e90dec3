"""The actor that a statement runs as: a database role and the claims of a token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import field, frozen

DatabaseRole = Literal["anon", "authenticated", "service_role"]


class Actor(Protocol):
    """A database role and the claims that row-level security policies read.

    For a signed-in user these are the verified claims of the token; `sub` is the user id.
    """

    @property
    def database_role(self) -> DatabaseRole: ...

    @property
    def claims_json(self) -> str:
        """The claims with `role` set to the database role; see `encode_claims`."""
        ...


def encode_claims(role: DatabaseRole, claims: Mapping[str, object]) -> str:
    """The value of `request.jwt.claims`. An actor encodes its claims once."""
    return json.dumps({**claims, "role": role})


@frozen
class FixedActor:
    """An actor that is not a signed-in user."""

    database_role: DatabaseRole
    claims: Mapping[str, object] = field(factory=dict[str, object])
    claims_json: str = field(init=False, eq=False, repr=False)

    @claims_json.default
    def _encoded(self) -> str:
        return encode_claims(self.database_role, self.claims)


ANONYMOUS: Actor = FixedActor("anon")
"""A visitor who has not signed in: public reads."""

SERVICE: Actor = FixedActor("service_role")
"""The server itself. Row-level security does not apply: statements must filter by user."""
