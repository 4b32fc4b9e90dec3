"""The operators' blocklist: addresses, networks and users that are denied access.

The list is in the database and is edited by `cookcam blocklist`. Each instance reads it every
`INTERVAL` seconds. A denied caller gets a 403; probes are answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from typing import Final, LiteralString
from uuid import UUID

import structlog
from attrs import define, field, frozen

from cookcam.config.readers import Network
from cookcam.database import SERVICE, Database
from cookcam.errors import AppError, ForeignKeyError
from cookcam.http.client_address import parse_address
from cookcam.lifecycle.background import run_periodically
from cookcam.realtime.connection import CloseCode
from cookcam.realtime.hub import Hub

INTERVAL: Final = 3.0
"""Seconds between two reads of the list; a change is in force after at most so many."""
MIN_PREFIX: Final = {4: 8, 6: 16}
"""The widest networks that can be blocked, by IP version: a typing error must not block all."""
MAX_DECISIONS: Final = 4_096
"""Addresses for which the decision is cached until the list changes."""
REASON: Final = "access denied"
"""The close reason of a socket."""

CURRENT: LiteralString = """
select coalesce(network::text, user_id::text) as target, reason, created_at, expires_at
from public.blocklist
where expires_at is null or expires_at > now()
order by created_at, id"""

# A network or user that is listed already gets the new reason and expiry.
ADD_NETWORK: LiteralString = """
insert into public.blocklist (network, reason, expires_at)
values (%(target)s::cidr, %(reason)s, now() + make_interval(hours => %(hours)s))
on conflict (network) where network is not null do update
set reason = excluded.reason, created_at = now(), expires_at = excluded.expires_at"""

ADD_USER: LiteralString = """
insert into public.blocklist (user_id, reason, expires_at)
values (%(target)s::uuid, %(reason)s, now() + make_interval(hours => %(hours)s))
on conflict (user_id) where user_id is not null do update
set reason = excluded.reason, created_at = now(), expires_at = excluded.expires_at"""

REMOVE: LiteralString = """
delete from public.blocklist
where coalesce(network::text, user_id::text) = %(target)s"""

Target = Network | UUID


@frozen
class Block:
    """An entry in force. `target` is a network or a user id; `expires_at` None for no end."""

    target: str
    reason: str
    created_at: datetime
    expires_at: datetime | None


def parse_target(text: str) -> Target:
    """A user id, or an address or network. Raises ValueError for other text, and for a network
    that is wider than MIN_PREFIX."""
    try:
        return UUID(text)
    except ValueError:
        network = ip_network(text)
    if network.prefixlen < MIN_PREFIX[network.version]:
        raise ValueError(f"the network is wider than /{MIN_PREFIX[network.version]}")
    return network


@frozen
class BlocklistStore:
    database: Database

    async def current(self) -> Sequence[Block]:
        """The entries in force, oldest first."""
        return await self.database.fetch_all_as(SERVICE, Block, CURRENT)

    async def add(self, target: Target, reason: str, hours: int | None) -> bool:
        """Add an entry, or replace its reason and expiry. False for an unknown user."""
        statement = ADD_USER if isinstance(target, UUID) else ADD_NETWORK
        try:
            async with self.database.transaction() as tx:
                await tx.execute(statement, target=str(target), reason=reason, hours=hours)
        except ForeignKeyError:
            return False
        return True

    async def remove(self, target: Target) -> bool:
        """Whether there was an entry."""
        async with self.database.transaction() as tx:
            return bool(await tx.execute(REMOVE, target=str(target)))


@define(eq=False)
class Blocklist:
    """The list as this instance last read it; while the database is unavailable, the last one."""

    store: BlocklistStore
    networks: frozenset[Network] = frozenset()
    _users: frozenset[UUID] = frozenset()
    _decisions: dict[str, bool] = field(factory=dict[str, bool], init=False)

    def denies_address(self, address: str) -> bool:
        if not self.networks:
            return False
        decision = self._decisions.get(address)
        if decision is None:
            if len(self._decisions) >= MAX_DECISIONS:
                self._decisions.clear()
            parsed = parse_address(address)
            decision = parsed is not None and any(parsed in network for network in self.networks)
            self._decisions[address] = decision
        return decision

    def denies_user(self, user_id: UUID) -> bool:
        return user_id in self._users

    async def run(self, hub: Hub) -> None:
        """Background task: keeps the list current, and closes sockets of denied callers."""

        async def refresh() -> None:
            if await self.refresh():
                for connection in hub.connections:
                    if self.denies_user(connection.user_id) or self.denies_address(
                        connection.address
                    ):
                        connection.close(CloseCode.FORBIDDEN, REASON)

        await run_periodically(refresh, INTERVAL, at_once=True)

    async def refresh(self) -> bool:
        """Read the list. Returns whether it has changed."""
        try:
            targets = [parse_target(block.target) for block in await self.store.current()]
        except AppError as error:
            structlog.get_logger(__name__).debug("blocklist not read", code=error.code)
            return False
        users = frozenset(target for target in targets if isinstance(target, UUID))
        networks = frozenset(target for target in targets if not isinstance(target, UUID))
        if (users, networks) == (self._users, self.networks):
            return False
        self._users, self.networks = users, networks
        self._decisions.clear()
        structlog.get_logger(__name__).info(
            "blocklist changed", users=len(users), networks=len(networks)
        )
        return True
