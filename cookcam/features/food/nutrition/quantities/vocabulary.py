"""Words of ingredient lines: number words, adjectives, containers, and what is no amount."""

from __future__ import annotations


def _split(text: str) -> list[str]:
    return text.split()


ONES = dict(
    zip(
        _split(
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
            " fifteen sixteen seventeen eighteen nineteen"
        ),
        range(1, 20),
        strict=True,
    )
)
TENS = dict(
    zip(
        _split("twenty thirty forty fifty sixty seventy eighty ninety"),
        range(20, 100, 10),
        strict=True,
    )
)
FRACTIONS = {
    "half": 1 / 2, "halves": 1 / 2, "third": 1 / 3, "thirds": 1 / 3, "quarter": 1 / 4,
    "quarters": 1 / 4, "fourth": 1 / 4, "fourths": 1 / 4, "fifth": 1 / 5, "fifths": 1 / 5,
    "sixth": 1 / 6, "sixths": 1 / 6, "eighth": 1 / 8, "eighths": 1 / 8,
}  # fmt: skip
GROUPS = {"dozen": 12.0, "dozens": 12.0, "couple": 2.0, "pair": 2.0, "hundred": 100.0}
ARTICLES = frozenset(("a", "an"))

ADJECTIVES = frozenset(
    _split(
        "heaping heaped scant level leveled levelled rounded generous packed firmly lightly "
        "loosely tightly good full overflowing brimming slightly very extra small medium "
        "large big tiny little jumbo thick thin thinly fat plump standard metric imperial us "
        "uk american bare short sized size more well hefty healthy modest mini long nice "
        "whole"
    )
)
"""Words between a number and its unit: `2 heaping cups`."""
APPROXIMATE = frozenset(
    _split(
        "about approx approximately roughly around circa ca c or weighing total of weight "
        "each at least almost nearly just over under"
    )
)
"""Words before a weight that is stated beside a quantity."""
BEFORE_AMOUNT = APPROXIMATE | {"up", "to", ".", "between"}
NOT_BEFORE_AMOUNT = frozenset(
    _split(
        "into in per every serves serve makes make yields yield feeds number no size type "
        "note notes step page mark tipo grade over at through recipe with"
    )
)
"""A number behind one of these is no amount: `cut into 4`, `serves 2`, `size 2 eggs`."""
LENGTHS = frozenset(
    _split(
        "inch inches cm cms centimeter centimeters centimetre centimetres mm millimeter "
        "millimeters millimetre millimetres foot feet ft meter meters metre metres"
    )
)
DIMENSIONS = frozenset(("thick", "long", "wide", "square", "diameter", "old", "deep"))
NOT_AMOUNTS = LENGTHS | frozenset(
    _split(
        "minute minutes min mins hour hours hr hrs h second seconds sec secs day days week "
        "weeks month months year years degree degrees deg f fahrenheit celsius percent pct "
        "kcal calorie calories kj cal cals serving servings people persons proof ply watt "
        "watts w"
    )
)
"""Words after a number that is no amount of food."""
BARE_UNITS = frozenset(
    ("pinch", "dash", "splash", "drizzle", "glug", "handful", "knob", "dollop", "sprig")
)
"""Units that count as one without a number: `pinch of salt`."""
COUNTABLE = frozenset(
    _split(
        "can cans tin tins jar jars bottle bottles carton cartons pack packs package packages "
        "packet packets pkg pkgs bag bags box boxes tub tubs pouch pouches container "
        "containers sachet sachets envelope envelopes fillet fillets filet filets steak "
        "steaks breast breasts chop chops piece pieces ball balls block blocks bar bars loaf "
        "loaves slab slabs leg legs thigh thighs drumstick drumsticks sausage sausages "
        "portion portions punnet punnets each log logs"
    )
)
"""Nouns that are counted, each of a weight: `2 400 g tins`."""
AFTER_EXTRA = frozenset(("for", "extra", "more", "to", "if", "as", "each"))
"""Words after an added amount of the same food: `plus 50 g for dusting`."""
EXTRA = frozenset(("extra", "another", "additional", "a", "an", "about", "plus", "further"))
EACH = frozenset(("each", "apiece", "ea"))
TOTAL = frozenset(("total", "altogether", "combined"))
CLAUSE_END = frozenset(("end", ",", ")", ";", ".", "-", "(", "/"))
