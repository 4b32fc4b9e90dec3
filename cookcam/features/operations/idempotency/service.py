"""A request under a key is carried out once, and its reply is given again for 24 hours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog
import trio
from attrs import frozen

from cookcam.errors import AppError
from cookcam.features.operations.idempotency.models import Claim, Keyed, Reply
from cookcam.features.operations.idempotency.store import ReplyStore

log = structlog.get_logger(__name__)

BOOKKEEPING = 5.0
"""Seconds for storing a reply or giving a key back, after which the request goes on without."""


class Answered(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


A = TypeVar("A", bound=Answered)


@frozen
class Replies:
    """Runs requests under their keys.

    Successes are kept. Whatever else happens (an error, a deadline, a client that leaves) gives the
    key back, so that a retry runs again. At most one request under a key runs at a time; a reply
    that cannot be stored is given nevertheless, and the key is free again after five minutes: what
    must not happen twice even then needs a unique key of its own.
    """

    store: ReplyStore

    async def once(self, keyed: Keyed, run: Callable[[], Awaitable[A]]) -> A | Reply:
        """What `run` answers, or the reply kept from the first time.

        Raises KeyReused, StillRunning, and what `run` raises.
        """
        claim = await self.store.claim(keyed)
        if isinstance(claim, Reply):
            return claim
        kept = False
        try:
            answer = await run()
            if 200 <= answer.status < 300:
                kept = await self._keep(claim, answer)
            return answer
        finally:
            if not kept:
                await self._release(claim)

    async def _keep(self, claim: Claim, answer: Answered) -> bool:
        # The deed is done. A client that leaves now comes back for the reply.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + BOOKKEEPING):
            try:
                await self.store.keep(claim, answer.status, answer.body)
            except AppError as error:
                log.warning("reply not kept", endpoint=claim.keyed.endpoint, reason=error.code)
        # Also where that failed: a free key would let the deed be done again at once.
        return True

    async def _release(self, claim: Claim) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + BOOKKEEPING):
            try:
                await self.store.release(claim)
            except AppError as error:
                log.warning("key not given back", endpoint=claim.keyed.endpoint, reason=error.code)
