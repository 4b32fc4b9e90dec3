"""What happens on an event of Stripe: a handler looks, then writes in the transaction it is given.

Two steps, because asking Stripe may take seconds and a transaction holds locks: a handler asks what
it has to and returns a `Write`, which only writes. The write and the mark of the event as processed
are one transaction. What others may hear of goes into the `AfterCommit` of the write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

from attrs import define, frozen

from cookcam.database import Database, Transaction
from cookcam.errors import TransactionConflict
from cookcam.integrations.stripe.events import Event

AfterCommit: TypeAlias = Callable[[], None]
Write: TypeAlias = Callable[[Transaction], Awaitable[AfterCommit | None]]
Handler: TypeAlias = Callable[[Event], Awaitable[Write | None]]
"""May raise anything: the event has failed, and comes again."""

ATTEMPTS = 4
"""Readings, when what was known changes under each."""


@define(slots=False, eq=False)
class OutOfOrder(Exception):
    """A write cannot tell whether what it would write is the newest. `read` asks Stripe."""

    read: Callable[[], Awaitable[Write]]


class ConnectEvents(Protocol):
    """What creators do on events, by type: of their accounts, and of our own account.

    Events of their accounts (`account.updated`, `payout.paid`) have `Event.account`; `transfer.…`
    and `payment_intent.…` are of our own.
    """

    @property
    def of_accounts(self) -> Mapping[str, Handler]: ...

    @property
    def of_platform(self) -> Mapping[str, Handler]: ...


@frozen
class Handlers:
    """Who does something on which event.

    An event of a connected account only ever reaches the handlers of such events, on whichever
    endpoint it comes: what its owner does there must not look like a payment to us.
    """

    of_platform: Mapping[str, Handler]
    of_accounts: Mapping[str, Handler]

    @classmethod
    def of(cls, ours: Mapping[str, Handler], connect: ConnectEvents) -> Handlers:
        """Raises ValueError when two want the same event."""
        if both := ours.keys() & connect.of_platform.keys():
            raise ValueError(f"two handlers of {', '.join(sorted(both))}")
        return cls({**ours, **connect.of_platform}, connect.of_accounts)

    def find(self, event: Event) -> Handler | None:
        """None for types that nobody knows: they are accepted, and nothing is done."""
        return (self.of_platform if event.account is None else self.of_accounts).get(event.type)


async def carry_out(database: Database, *writes: Write) -> None:
    """All writes in one transaction, the first of them again after a reading if it asks for one.

    Raises TransactionConflict when that does not end.
    """
    first, *others = writes
    for _ in range(ATTEMPTS):
        try:
            async with database.transaction() as tx:
                after = [await write(tx) for write in (first, *others)]
        except OutOfOrder as disorder:
            read = disorder.read
        else:
            for call in after:
                if call is not None:
                    call()
            return
        first = await read()
    raise TransactionConflict()
