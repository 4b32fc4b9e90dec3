"""Figures of the machine, as far as the standard library tells them."""

from __future__ import annotations

import os
import shutil

from msgspec import UNSET, UnsetType

from cookcam.features.health.models import Processor, SystemOut, Usage


def system() -> SystemOut:
    disk = shutil.disk_usage(".")
    return SystemOut(cpu=_processor(), disk=_usage(disk.used, disk.total), memory=_memory())


def _processor() -> Processor:
    count = os.cpu_count() or 1
    return Processor(usage=min(100, round(os.getloadavg()[0] / count * 100)), count=count)


def _memory() -> Usage | UnsetType:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * page
        return _usage(total - os.sysconf("SC_AVPHYS_PAGES") * page, total)
    except (ValueError, OSError):
        return UNSET


def _usage(used: int, total: int) -> Usage:
    return Usage(used=used, total=total, percentage=round(100 * used / total) if total else 0)
