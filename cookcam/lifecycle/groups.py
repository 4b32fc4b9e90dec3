"""Nurseries and the exception groups that they raise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import trio


@asynccontextmanager
async def service_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery for the tasks of a component that is open for the block.

    The tasks are cancelled at the end of the block. An exception of the block is raised unchanged;
    a plain nursery would wrap it in a group.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside a group and its nested groups, in order; of another error, itself."""
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(member)
    else:
        yield error


def only_error(error: BaseException) -> BaseException:
    """The single error inside a group; of several errors, the innermost group that holds them."""
    members: tuple[BaseException, ...] = (error,)
    while len(members) == 1 and isinstance(members[0], BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", members[0])
        error, members = group, group.exceptions
    return members[0] if len(members) == 1 else error
