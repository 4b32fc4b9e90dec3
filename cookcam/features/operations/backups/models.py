"""Backups and their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

from attrs import frozen

Status = Literal["running", "completed", "failed"]
Frequency = Literal["daily", "weekly", "monthly"]

PERIODS: Final[Mapping[Frequency, timedelta]] = {
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=30),
}


@frozen
class Backup:
    """`size` is in bytes; `tables` are those of a completed backup."""

    id: str
    status: Status
    start_time: datetime
    end_time: datetime | None
    size: int | None
    error: str | None
    tables: list[str]


@frozen
class BackupPlan:
    """How the server makes backups; `retention_days` after which one is deleted."""

    enabled: bool
    frequency: Frequency
    retention_days: int
