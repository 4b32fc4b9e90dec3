"""Dollars of the wire to cents and back, and shares of cents."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Final

LARGEST_CENTS: Final = 10**11


def cents_of(dollars: float) -> int | None:
    """Whole cents; None for what is not finite, has fractions of a cent, or is beyond reason.

    The text of the number counts, as its sender wrote it: 0.29 is 29 cents, though the nearest
    float is not.
    """
    if not isfinite(dollars):
        return None
    cents = Decimal(repr(dollars)) * 100
    if cents != cents.to_integral_value() or abs(cents) > LARGEST_CENTS:
        return None
    return int(cents)


def dollars(cents: int) -> float:
    return cents / 100


def part(cents: int, of: int, whole: int) -> int:
    """`cents * of / whole`, for amounts that are not negative, half cents rounded up."""
    return (2 * cents * of + whole) // (2 * whole)
