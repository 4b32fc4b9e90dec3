"""How a failure to store is told."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cookcam.errors import AppError, InternalError
from cookcam.features.billing.errors import LimitReached


@contextmanager
def storing(literal: str) -> Generator[None]:
    """A refusal of the database inside the block is InternalError in the words of the endpoint.

    A limit that is reached stays one, and so does a database that is away or too slow.
    """
    try:
        yield
    except LimitReached:
        raise
    except AppError as error:
        if error.status in (503, 504):
            raise
        raise InternalError(error=literal) from error
