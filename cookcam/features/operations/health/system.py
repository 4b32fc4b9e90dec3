"""Usage of processor, disk and memory, from the standard library."""

from __future__ import annotations

import os
import shutil

from msgspec import UNSET, UnsetType

from cookcam.features.operations.health.models import ProcessorUsage, SpaceUsage, SystemUsage


def system() -> SystemUsage:
    disk = shutil.disk_usage(".")
    return SystemUsage(cpu=_processor(), disk=_usage(disk.used, disk.total), memory=_memory())


def _processor() -> ProcessorUsage:
    count = os.cpu_count() or 1
    return ProcessorUsage(usage=min(100, round(os.getloadavg()[0] / count * 100)), count=count)


def _memory() -> SpaceUsage | UnsetType:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * page
        return _usage(total - os.sysconf("SC_AVPHYS_PAGES") * page, total)
    except (ValueError, OSError):
        return UNSET


def _usage(used: int, total: int) -> SpaceUsage:
    return SpaceUsage(used=used, total=total, percentage=round(100 * used / total) if total else 0)
