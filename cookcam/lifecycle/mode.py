"""Maintenance and read-only mode: switches that operators set for all instances.

The switches are rows of the database; `cookcam.features.operations.switches` follows them. The
edge, the sockets and the database of each process read this copy.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import define

from cookcam.errors import MaintenanceMode, ReadOnlyMode

ModeName = Literal["normal", "read_only", "maintenance"]

DEFAULT_RETRY_AFTER: Final = 60
"""Seconds after which clients of a server that is switched off should try again."""


@define(eq=False)
class OperatingMode:
    """Each switch is its `Retry-After` in seconds while it is on, else None."""

    maintenance: int | None = None
    read_only: int | None = None

    @property
    def name(self) -> ModeName:
        """Maintenance includes read-only mode."""
        if self.maintenance is not None:
            return "maintenance"
        return "normal" if self.read_only is None else "read_only"

    def require_service(self) -> None:
        """Raise MaintenanceMode in maintenance mode."""
        if self.maintenance is not None:
            raise MaintenanceMode(retry_after=self.maintenance)

    def require_writes(self) -> None:
        """Raise ReadOnlyMode in read-only mode."""
        if self.read_only is not None:
            raise ReadOnlyMode(retry_after=self.read_only)
