"""Quantities as people write them: "1 1/2 cups", "2-3 cloves", "1 (14 oz) can", "½ lb (225 g)".

Pure: text in, numbers out, and never NaN, infinite or negative. Source of the units and their
weights: `spec/http-api-core.md` §9.10, §9.12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from attrs import frozen

GREATEST = 1_000_000.0
"""No recipe needs more of any unit; what claims to is read as this much."""


class Kind(Enum):
    MASS = "mass"
    VOLUME = "volume"
    PIECE = "piece"
    CONTAINER = "container"


@frozen
class Unit:
    """`size` is grams for a mass and for what is counted, millilitres for a volume.

    Of a PIECE `size` is a share of what one piece of the food weighs, where `of_food` is set.
    """

    name: str
    kind: Kind
    size: float
    of_food: bool = False
    metric: bool = False


def _units() -> Iterator[tuple[Unit, tuple[str, ...]]]:
    mass, volume = Kind.MASS, Kind.VOLUME
    yield Unit("g", mass, 1, metric=True), ("gram", "gramme", "gr", "gm")
    yield Unit("kg", mass, 1000, metric=True), ("kilogram", "kilo", "kilogramme")
    yield Unit("mg", mass, 0.001, metric=True), ("milligram",)
    yield Unit("oz", mass, 28.35), ("ounce",)
    yield Unit("lb", mass, 453.59), ("pound",)
    yield Unit("ml", volume, 1, metric=True), ("milliliter", "millilitre", "cc")
    yield Unit("cl", volume, 10, metric=True), ("centiliter", "centilitre")
    yield Unit("dl", volume, 100, metric=True), ("deciliter", "decilitre")
    yield Unit("l", volume, 1000, metric=True), ("liter", "litre")
    yield Unit("tsp", volume, 5), ("teaspoon", "teasp")
    yield Unit("tbsp", volume, 15), ("tablespoon", "tbs", "tbl", "tablesp")
    yield Unit("cup", volume, 240), ("c",)
    yield Unit("fl oz", volume, 29.57), ("fluid ounce", "floz")
    yield Unit("pint", volume, 473.18), ("pt",)
    yield Unit("quart", volume, 946.35), ("qt",)
    yield Unit("gallon", volume, 3785.41), ("gal",)
    yield Unit("dash", volume, 0.6), ()
    yield Unit("splash", volume, 5), ("drizzle",)
    yield Unit("drop", volume, 0.05), ()
    yield Unit("pinch", mass, 0.36), ()
    yield Unit("clove", mass, 5), ()
    yield Unit("slice", mass, 30), ()
    yield Unit("stick", mass, 113), ()
    yield Unit("handful", mass, 30), ()
    yield Unit("bunch", mass, 100), ()
    yield Unit("sprig", mass, 2), ()
    yield Unit("stalk", mass, 40), ("rib",)
    yield Unit("piece", Kind.PIECE, 1, of_food=True), ("pc", "whole", "each", "unit", "ea")
    yield Unit("small", Kind.PIECE, 0.75, of_food=True), ()
    yield Unit("medium", Kind.PIECE, 1, of_food=True), ("med",)
    yield Unit("large", Kind.PIECE, 1.25, of_food=True), ("lg",)
    yield Unit("can", Kind.CONTAINER, 400), ("tin",)
    yield Unit("jar", Kind.CONTAINER, 350), ()
    yield Unit("package", Kind.CONTAINER, 250), ("packet", "pack", "pkg", "bag", "box")
    yield Unit("bottle", Kind.CONTAINER, 500), ("carton",)


def _spellings(word: str) -> tuple[str, ...]:
    if len(word) < 3 or " " in word:
        return (word, word + "s")
    if word.endswith(("ch", "sh", "x")):
        return (word, word + "es")
    if word.endswith("f"):
        return (word, word + "s", word[:-1] + "ves")
    return (word, word + "s")


UNITS: dict[str, Unit] = {
    spelling: unit
    for unit, others in _units()
    for word in (unit.name, *others)
    for spelling in _spellings(word)
}
"""Every spelling, lower case, and its unit."""

PIECE = UNITS["piece"]

_VULGAR = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5",
    "⅗": "3/5", "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅐": "1/7", "⅛": "1/8", "⅜": "3/8",
    "⅝": "5/8", "⅞": "7/8", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip
# Hyphens, dashes and the minus sign; the fraction slash; the multiplication sign.
_SIGNS = {"\u2010-\u2015\u2212~": "-", "\u2044": "/", "\u00d7": "x"}
_NUMBER = r"(?:\d+\s+\d+\s*/\s*\d+|\d+\s*/\s*\d+|\d*[.,]\d+|\d+)"
_QUANTITY = re.compile(
    rf"(?P<low>{_NUMBER})(?:\s*(?:-|to\b|or\b)\s*(?P<high>{_NUMBER}))?"
    r"[\s\-]*(?P<unit>fl\.?\s*oz|fluid\s+ounces?|[^\W\d_]+)?",
    re.IGNORECASE,
)
_TIMES = re.compile(rf"^\s*({_NUMBER})\s*[x*]\s*(?=\d)", re.IGNORECASE)
_ARTICLE = re.compile(r"^\s*(?:an?|one)\s+(?=[^\W\d_])", re.IGNORECASE)


@frozen
class Quantity:
    """`amount` of `unit`; where the text has no unit, of pieces."""

    amount: float
    unit: Unit = PIECE

    def __str__(self) -> str:
        return f"{self.amount:.6f}".rstrip("0").rstrip(".") + f" {self.unit.name}"


def parse_quantity(text: str, unit: str = "") -> Quantity | None:
    """What `text` says, or None without a number in it.

    The explicit `unit` wins over the word behind the number. A weight or volume in parentheses, or
    a metric one, wins over both; beside a count of containers it is the size of each.
    """
    return parse_with_rest(text, unit)[0]


def parse_with_rest(text: str, unit: str = "") -> tuple[Quantity | None, str]:
    """The quantity, and the text without it: `"2 cups flour"` is two cups and `"flour"`."""
    plain = _plain(text)
    times = _TIMES.match(plain)
    factor = _number(times[1]) if times else 1.0
    plain = plain[times.end() :] if times else _ARTICLE.sub("1 ", plain)
    found = [_Found.of(match) for match in _QUANTITY.finditer(plain)]
    if not found:
        return None, " ".join(text.split())
    first = found[0]
    rest = _without(plain, first)
    leading = Quantity(_bounded(first.amount * factor), unit_of(unit) or first.unit or PIECE)
    better = next((other for other in found[1:] if _is_better(other, plain)), None)
    if better is None or better.unit is None or (unit_of(unit) and leading.unit.metric):
        return leading, rest
    each = leading.unit.kind is Kind.CONTAINER or re.search(r"\beach\b", plain) is not None
    container = re.search(r"\)\s*(?:cans?|tins?|jars?|bottles?|pack\w*|bags?|box\w*)\b", plain)
    count = leading.amount if each or container else 1.0
    return Quantity(_bounded(better.amount * count), better.unit), rest


def unit_of(text: str) -> Unit | None:
    """The unit of a word in any known spelling. `T` is a tablespoon, `t` a teaspoon."""
    word = " ".join(text.replace(".", " ").split())
    if word in ("T", "t"):
        return UNITS["tbsp" if word == "T" else "tsp"]
    return UNITS.get(word.lower())


@frozen
class _Found:
    amount: float
    unit: Unit | None
    start: int
    end: int

    @classmethod
    def of(cls, match: re.Match[str]) -> _Found:
        low = _number(match["low"])
        high = _number(match["high"]) if match["high"] else low
        unit = unit_of(match["unit"] or "")
        end = match.end() if unit else match.end("high" if match["high"] else "low")
        return cls(_bounded((low + high) / 2), unit, match.start(), end)


def _is_better(found: _Found, text: str) -> bool:
    if found.unit is None or found.unit.kind not in (Kind.MASS, Kind.VOLUME):
        return False
    before = text[: found.start]
    return found.unit.metric or before.count("(") > before.count(")")


def _without(text: str, found: _Found) -> str:
    rest = text[: found.start] + " " + text[found.end :]
    rest = re.sub(r"\([^()]*\)", " ", rest)
    rest = re.sub(r"^\s*(?:of|cans?|tins?|jars?|bottles?)\b", " ", rest, flags=re.IGNORECASE)
    return " ".join(rest.strip(" ,;/").split())


def _plain(text: str) -> str:
    for vulgar, fraction in _VULGAR.items():
        text = text.replace(vulgar, f" {fraction} ")
    for signs, plain in _SIGNS.items():
        text = re.sub(f"[{signs}]", plain, text)
    return text


def _number(text: str) -> float:
    """The value of `1`, `1.5`, `1,5`, `1/2` or `1 1/2`; nothing divided by nothing is nothing."""
    if "/" not in text:
        return _bounded(float("0" + text.strip().replace(",", ".")[:32]))
    match = re.fullmatch(r"(?:(\d+)\s+)?(\d+)\s*/\s*(\d+)", text.strip())
    if match is None or _digits(match[3]) == 0:
        return 0.0
    return _bounded(_digits(match[1] or "0") + _digits(match[2]) / _digits(match[3]))


def _digits(text: str) -> float:
    return float(text[:15])


def _bounded(amount: float) -> float:
    return min(max(amount, 0.0), GREATEST)
