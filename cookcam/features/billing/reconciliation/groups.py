"""A failure inside a nursery as itself: who takes a run up again looks at its class."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cookcam.errors import AppError


@contextmanager
def ungrouped() -> Generator[None]:
    """Raises the first of the AppErrors of a group instead of the group, if it has no others."""
    try:
        yield
    except ExceptionGroup as group:
        known, others = group.split(AppError)
        if known is None or others is not None:
            raise
        failure = _first(known)
    else:
        return
    raise failure


def _first(group: ExceptionGroup[AppError]) -> AppError:
    member = group.exceptions[0]
    return _first(member) if isinstance(member, ExceptionGroup) else member
