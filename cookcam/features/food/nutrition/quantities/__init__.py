"""Parser for quantities in ingredient lines: "1 1/2 cups", "2-3 x 400 g tins", "½ lb (225 g)".

Pure: text in, numbers out. A parsed amount is finite and from 0 to GREATEST. Time is linear in the
length of the text, of which MAX_LENGTH characters are read.

The text is normalised first (`normalise`), then split into numbers, words and signs, then read by
recursive descent:

    line      = skipped* quantity rest
    quantity  = term { ("+" | "plus" | "and" | "-" | "to" | "/" | "or" | "x" | nothing) term }
    term      = value "x" term                       2 x 400 g
              | value "(" measure ")" noun           4 (6-ounce) fillets
              | value measure                        2 400 g tins, half a 14 oz can
              | value { adjective } [ unit ]         2 heaping cups
    value     = number [ ("-" | "to" | "or") number ]   a range is its middle
    number    = digits | fraction | mixed number | number words

Numbers that are no amounts are skipped: percentages, temperatures, times, dimensions ("1/4 inch
thick"), names ("7-up", "00 flour") and what follows "into", "serves" and the like. A weight or
volume after the quantity, in parentheses or behind a comma, replaces a less precise one ("1 cup
(120 g)") or is the size of each ("2 cans (400 g)", "2 steaks, 200 g each").

One separator before exactly three digits is ambiguous. "1,000" is a thousand and "1.000" is one;
but with kg or l both are decimals ("1,250 kg"), and with g, mg or ml both are thousands
("1.500 g"). After a leading 0 it is always a decimal.
"""

from __future__ import annotations

import re

from attrs import frozen

from cookcam.features.food.nutrition.quantities.grammar import QuantityParser
from cookcam.features.food.nutrition.quantities.normalise import normalise
from cookcam.features.food.nutrition.quantities.tokens import GREATEST, limited
from cookcam.features.food.nutrition.units import PIECE, Unit

__all__ = ["GREATEST", "Quantity", "normalise", "parse_quantity", "parse_with_rest"]


@frozen
class Quantity:
    """`amount` of `unit`; of pieces where the text names no unit."""

    amount: float
    unit: Unit = PIECE

    def __str__(self) -> str:
        text = f"{self.amount:.6f}".rstrip("0").rstrip(".")
        if re.search(r"\.\d{3}$", text):  # four decimals are never thousands
            text += "0"
        return f"{text} {self.unit.name}"


def parse_quantity(text: str, unit: str = "") -> Quantity | None:
    """The quantity in `text`; None where it states no amount.

    An explicit `unit` replaces the unit in `text`. A weight or volume in parentheses, or a metric
    one, replaces both; next to a count of containers it is the size of each.
    """
    return parse_with_rest(text, unit)[0]


def parse_with_rest(text: str, unit: str = "") -> tuple[Quantity | None, str]:
    """The quantity, and the text without it: `"2 cups flour"` is two cups and `"flour"`."""
    explicit = _explicit_unit(unit)
    if unit.strip() and explicit is None:
        text = f"{text} {unit}"
    plain = normalise(text)
    parser = QuantityParser(plain, explicit)
    found = parser.parse()
    if found is None:
        return None, " ".join(text.split())
    return Quantity(limited(found.amount), found.unit or PIECE), parser.rest()


def _explicit_unit(text: str) -> Unit | None:
    """The unit of a field for units: `cups`, `cup(s)`, `heaping tbsp`."""
    return QuantityParser(normalise(text), None).whole_unit()
