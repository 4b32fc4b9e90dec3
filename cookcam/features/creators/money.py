"""Conversion between dollars and cents, and proration of cents."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Final

MAX_CENTS: Final = 10**11


def cents_of(dollars: float) -> int | None:
    """Whole cents; None for a value that is not finite, has fractions of a cent, or exceeds
    MAX_CENTS.

    Uses the decimal text of the number: 0.29 is 29 cents, although the nearest float is not.
    """
    if not isfinite(dollars):
        return None
    cents = Decimal(repr(dollars)) * 100
    if cents != cents.to_integral_value() or abs(cents) > MAX_CENTS:
        return None
    return int(cents)


def dollars(cents: int) -> float:
    return cents / 100


def prorate(cents: int, of: int, whole: int) -> int:
    """`cents * of / whole` for non-negative amounts, half cents rounded up."""
    return (2 * cents * of + whole) // (2 * whole)
