"""A keyed request runs once; its reply is replayed for 24 hours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog
import trio
from attrs import frozen

from cookcam.errors import AppError
from cookcam.features.operations.idempotency.models import Claim, KeyedRequest, Reply
from cookcam.features.operations.idempotency.store import ReplyStore

log = structlog.get_logger(__name__)

STORE_TIMEOUT = 5.0
"""Seconds for storing a reply or releasing a key; then the request continues without it."""


class HasStatusAndBody(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


A = TypeVar("A", bound=HasStatusAndBody)


@frozen
class StoredReplies:
    """Runs keyed requests at most once at a time.

    Successful replies are stored. Any other outcome (error, deadline, disconnect) releases the
    key, so that a retry runs again. A reply that cannot be stored is still sent, and its key is
    released after five minutes: an effect that must not happen twice even then needs a unique key
    of its own.
    """

    store: ReplyStore

    async def once(self, keyed_request: KeyedRequest, run: Callable[[], Awaitable[A]]) -> A | Reply:
        """The response of `run`, or the stored reply of the first request.

        Raises KeyReused, StillRunning, and the errors of `run`.
        """
        claim = await self.store.claim(keyed_request)
        if isinstance(claim, Reply):
            return claim
        is_stored = False
        try:
            response = await run()
            if 200 <= response.status < 300:
                is_stored = await self._store_reply(claim, response)
            return response
        finally:
            if not is_stored:
                await self._release(claim)

    async def _store_reply(self, claim: Claim, response: HasStatusAndBody) -> bool:
        # The request has taken effect. A client that disconnects now retries for the reply.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + STORE_TIMEOUT):
            try:
                await self.store.store_reply(claim, response.status, response.body)
            except AppError as error:
                log.warning(
                    "reply not stored", endpoint=claim.keyed_request.endpoint, reason=error.code
                )
        # True even on failure: a released key would let the request run again immediately.
        return True

    async def _release(self, claim: Claim) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + STORE_TIMEOUT):
            try:
                await self.store.release(claim)
            except AppError as error:
                log.warning(
                    "key not released", endpoint=claim.keyed_request.endpoint, reason=error.code
                )
