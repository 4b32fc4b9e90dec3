"""What a pool tells about itself."""

from __future__ import annotations

from attrs import define, frozen


@define
class PoolTotals:
    """Counted since the pool was opened."""

    opened: int = 0
    closed: int = 0
    broken: int = 0
    failed: int = 0
    borrowed: int = 0
    refused: int = 0


@frozen
class PoolStats:
    """The pool at one moment, and its totals since it was opened.

    size: connections open or being opened; in_use: with a borrower; idle: open and at rest;
    waiting: borrowers in the queue. opened, closed: connections ever; broken: of the closed, those
    found dead or left in a state that could not be repaired; failed: attempts to connect;
    borrowed: connections ever handed out; refused: borrowers sent away without one.
    """

    size: int
    in_use: int
    idle: int
    waiting: int
    opened: int
    closed: int
    broken: int
    failed: int
    borrowed: int
    refused: int
