"""In whose name a statement runs (`spec/database.md` §5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import field, frozen

DatabaseRole = Literal["anon", "authenticated", "service_role"]


class Actor(Protocol):
    """Whoever statements run as: a role, and the claims that policies read.

    The claims of a person are the verified ones of the token; `sub` is the user id.
    """

    @property
    def database_role(self) -> DatabaseRole: ...

    @property
    def claims(self) -> Mapping[str, object]: ...


@frozen
class FixedActor:
    """An actor that is nobody in particular."""

    database_role: DatabaseRole
    claims: Mapping[str, object] = field(factory=dict[str, object])


GUEST: Actor = FixedActor("anon")
"""Somebody who has not signed in: public reads."""

SERVICE: Actor = FixedActor("service_role")
"""The server itself. Row-level security does not apply: every statement names its user."""
