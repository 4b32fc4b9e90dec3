"""Applies the switches of the operators to this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from attrs import frozen

from cookcam.errors import AppError
from cookcam.features.operations.switches.store import SwitchStore
from cookcam.lifecycle.background import run_periodically
from cookcam.lifecycle.mode import OperatingMode
from cookcam.observability.logging import get_logger

log = get_logger(__name__)

INTERVAL: Final = 2.0
"""Seconds. Read periodically, and not announced by NOTIFY: that would take one more connection to
the database for each process, and a lost announcement would leave an instance behind."""


@frozen
class SwitchFollower:
    """`close_sockets` closes all sockets and gets the `Retry-After` of the maintenance."""

    store: SwitchStore
    mode: OperatingMode
    close_sockets: Callable[[int], Awaitable[None]] | None = None

    async def run(self) -> None:
        """Background task: follow the switches within INTERVAL seconds."""
        await run_periodically(self.follow, INTERVAL)

    async def follow(self) -> None:
        """Read the switches once. While the database does not answer, the mode stays as it is."""
        try:
            switches = {switch.name: switch.retry_after for switch in await self.store.read()}
        except AppError as error:
            log.debug("switches not read", code=error.code)
            return
        previous = self.mode.name
        self.mode.maintenance = switches.get("maintenance")
        self.mode.read_only = switches.get("read_only")
        if self.mode.name != previous:
            log.warning("operating mode changed", mode=self.mode.name, previous=previous)
        if self.mode.maintenance is not None and self.close_sockets is not None:
            # Each time: a handshake that was accepted before may just have ended.
            await self.close_sockets(self.mode.maintenance)
