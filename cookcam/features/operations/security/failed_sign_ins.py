"""The accounts with failed sign-ins, to detect password spraying.

An attacker who tries one password on many accounts stays below the limits of each account. What
shows the attack is the number of different accounts.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field

WINDOW: Final = 900.0
"""Seconds; the window of the sign-in limit."""
MAX_ENTRIES: Final = 10_000
"""Pairs of address and account; the oldest is dropped first."""


@define(eq=False)
class FailedSignIns:
    """The failed sign-ins of the last `WINDOW` seconds at this instance."""

    clock: Callable[[], float] = trio.current_time
    _times: OrderedDict[tuple[str, str], float] = field(
        factory=OrderedDict[tuple[str, str], float], init=False
    )
    """(address, account) → the time of the last failure, oldest first."""
    _accounts: Counter[str] = field(factory=Counter[str], init=False)
    """Account → the addresses from which it failed."""
    _by_address: Counter[str] = field(factory=Counter[str], init=False)

    def add(self, address: str, account: str) -> int:
        """Record a failure. Returns the number of accounts that failed from the address if this
        account is a new one of them, else 0."""
        self._expire()
        pair = address, account
        known = self._times.pop(pair, None) is not None
        self._times[pair] = self.clock()
        if known:
            return 0
        self._accounts[account] += 1
        self._by_address[address] += 1
        if len(self._times) > MAX_ENTRIES:
            self._drop_oldest()
        return self._by_address[address]

    def accounts(self) -> int:
        """The accounts with a failure."""
        self._expire()
        return len(self._accounts)

    def most_accounts_of_an_address(self) -> int:
        self._expire()
        return max(self._by_address.values(), default=0)

    def _expire(self) -> None:
        before = self.clock() - WINDOW
        while self._times and next(iter(self._times.values())) <= before:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        (address, account), _ = self._times.popitem(last=False)
        for counts, key in ((self._accounts, account), (self._by_address, address)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]
