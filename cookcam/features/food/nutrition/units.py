"""Units of a quantity: their spellings and their weight or volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from attrs import frozen


class Kind(Enum):
    MASS = "mass"
    VOLUME = "volume"
    PIECE = "piece"
    CONTAINER = "container"


@frozen
class Unit:
    """A unit. `size` is in grams for MASS and CONTAINER, in millilitres for VOLUME; for PIECE it is
    a factor of the weight of one piece of the food.

    `exact` units have a defined size; the size of the others (a clove, a pinch, a can) is typical.
    """

    name: str
    kind: Kind
    size: float
    exact: bool = False
    metric: bool = False

    @property
    def of_food(self) -> bool:
        return self.kind is Kind.PIECE


def _mass(name: str, grams: float, *, exact: bool = False, metric: bool = False) -> Unit:
    return Unit(name, Kind.MASS, grams, exact, metric)


def _volume(name: str, millilitres: float, *, exact: bool = True, metric: bool = False) -> Unit:
    return Unit(name, Kind.VOLUME, millilitres, exact, metric)


def _units() -> Iterator[tuple[Unit, tuple[str, ...]]]:
    """Each unit with its other spellings in the singular."""
    yield _mass("g", 1, exact=True, metric=True), ("gram", "gramme", "gr", "gm", "grm")
    yield _mass("kg", 1000, exact=True, metric=True), ("kilogram", "kilo", "kilogramme", "kgm")
    yield _mass("mg", 0.001, exact=True, metric=True), ("milligram", "milligramme")
    yield _mass("oz", 28.35, exact=True), ("ounce", "onz")
    yield _mass("lb", 453.59, exact=True), ("pound",)
    yield _volume("ml", 1, metric=True), ("milliliter", "millilitre", "cc", "mil")
    yield _volume("cl", 10, metric=True), ("centiliter", "centilitre")
    yield _volume("dl", 100, metric=True), ("deciliter", "decilitre")
    yield _volume("l", 1000, metric=True), ("liter", "litre", "ltr")
    yield _volume("tsp", 5), ("teaspoon", "teasp", "tspn", "teaspoonful")
    yield (
        _volume("tbsp", 15),
        ("tablespoon", "tbs", "tbl", "tb", "tbsn", "tblsp", "tbspn", "tablesp", "tablespoonful"),
    )
    yield _volume("cup", 240), ("c", "cupful")
    yield _volume("fl oz", 29.57), ("fluid ounce", "fluid oz", "fl ounce", "floz")
    yield _volume("pint", 473.18), ("pt",)
    yield _volume("quart", 946.35), ("qt",)
    yield _volume("gallon", 3785.41), ("gal",)
    yield _volume("dessertspoon", 10), ("dsp", "dssp", "dessertspoonful")
    yield _volume("dash", 0.6, exact=False), ()
    yield _volume("splash", 5, exact=False), ("drizzle", "glug")
    yield _volume("drop", 0.05, exact=False), ()
    yield _volume("dollop", 30, exact=False), ()
    yield _mass("pinch", 0.36), ()
    yield _mass("clove", 5), ()
    yield _mass("slice", 30), ("rasher",)
    yield _mass("stick", 113), ()
    yield _mass("knob", 15), ()
    yield _mass("handful", 30), ()
    yield _mass("bunch", 100), ()
    yield _mass("sprig", 2), ()
    yield _mass("stalk", 40), ("rib",)
    yield Unit("piece", Kind.PIECE, 1), ("pc", "pce", "whole", "each", "unit", "ea", "count", "ct")
    yield Unit("small", Kind.PIECE, 0.75), ("sm",)
    yield Unit("medium", Kind.PIECE, 1), ("med",)
    yield Unit("large", Kind.PIECE, 1.25), ("lg", "lge", "big", "jumbo")
    yield Unit("can", Kind.CONTAINER, 400), ("tin",)
    yield Unit("jar", Kind.CONTAINER, 350), ()
    yield (
        Unit("package", Kind.CONTAINER, 250),
        ("packet", "pack", "pkg", "pkt", "bag", "box", "tub", "pouch", "container", "punnet"),
    )
    yield Unit("bottle", Kind.CONTAINER, 500), ("carton",)
    yield Unit("sachet", Kind.CONTAINER, 8), ("envelope",)


def _spellings(word: str) -> tuple[str, ...]:
    if word.endswith(("ch", "sh", "x")):
        return (word, word + "es")
    if word.endswith("ful"):
        return (word, word + "s", word[:-3] + "sful")
    return (word, word + "s")


UNITS: Mapping[str, Unit] = {
    spelling: unit
    for unit, others in _units()
    for word in (unit.name, *others)
    for spelling in _spellings(word)
}
"""Lower-case spelling → unit."""

PIECE = UNITS["piece"]


def unit_of(text: str) -> Unit | None:
    """The unit of a spelling. `T` is a tablespoon and `t` a teaspoon; else case is ignored."""
    word = " ".join(text.replace(".", " ").split())
    if word in ("T", "t"):
        return UNITS["tbsp" if word == "T" else "tsp"]
    return UNITS.get(word.lower())
