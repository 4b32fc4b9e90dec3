"""The switches of the operators: a row for each that is on."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from cookcam.database import SERVICE, Database

SwitchName = Literal["maintenance", "read_only"]

READ: Final = "select name, retry_after, since from public.operator_switches order by name"
TURN_ON: Final = """
insert into public.operator_switches as s (name, retry_after)
values (%(name)s, %(retry_after)s)
on conflict (name) do update set retry_after = excluded.retry_after"""
TURN_OFF: Final = "delete from public.operator_switches where name = %(name)s"


@frozen
class Switch:
    """A switch that is on. `retry_after` is in seconds."""

    name: SwitchName
    retry_after: int
    since: datetime


@frozen
class SwitchStore:
    database: Database

    async def read(self) -> list[Switch]:
        """The switches that are on."""
        return await self.database.fetch_all_as(SERVICE, Switch, READ)

    async def turn_on(self, name: SwitchName, retry_after: int) -> None:
        """Keeps the time since when a switch has been on."""
        async with self.database.transaction() as tx:
            await tx.execute(TURN_ON, name=name, retry_after=retry_after)

    async def turn_off(self, name: SwitchName) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(TURN_OFF, name=name)
