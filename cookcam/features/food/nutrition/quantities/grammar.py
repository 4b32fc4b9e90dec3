"""Recursive descent over the tokens of an ingredient line; see the package for the grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import define, field, frozen

from cookcam.features.food.nutrition.quantities.tokens import END, Token, number_of, tokenize
from cookcam.features.food.nutrition.quantities.vocabulary import (
    ADJECTIVES,
    AFTER_EXTRA,
    APPROXIMATE,
    ARTICLES,
    BARE_UNITS,
    BEFORE_AMOUNT,
    CLAUSE_END,
    COUNTABLE,
    DIMENSIONS,
    EACH,
    EXTRA,
    FRACTIONS,
    GROUPS,
    NOT_AMOUNTS,
    NOT_BEFORE_AMOUNT,
    ONES,
    TENS,
    TOTAL,
)
from cookcam.features.food.nutrition.units import PIECE, UNITS, Kind, Unit, unit_of

MAX_DEPTH = 4
"""Terms inside terms: `half of 2 x 400 g` has three."""


@frozen
class Measure:
    """An amount read from tokens up to `next`. `unit` is None where none is written."""

    amount: float
    unit: Unit | None
    next: int

    @property
    def is_exact(self) -> bool:
        return self.unit is not None and self.unit.exact

    @property
    def rank(self) -> int:
        """Precision as a weight: 4 metric mass, 3 other mass, 2 metric volume, 1 volume, 0 rest."""
        if self.unit is None or not self.unit.exact:
            return 0
        return 1 + (2 if self.unit.kind is Kind.MASS else 0) + self.unit.metric


@define
class QuantityParser:
    text: str
    explicit: Unit | None
    tokens: list[Token] = field(init=False)
    used: list[tuple[int, int]] = field(factory=list[tuple[int, int]], init=False)
    """Spans of tokens that belong to the quantity and not to the name of the food."""

    def __attrs_post_init__(self) -> None:
        self.tokens = self._group_by_spaces(tokenize(self.text))

    def parse(self) -> Measure | None:
        start = self._line_start()
        if self._at(start).kind == "-" and self._at(start + 1).kind == "number":
            if self._at(start + 1).glued:
                return None  # a negative amount
            start += 1
        at = start
        while at < len(self.tokens):
            measure, following = self._amount_at(at, start)
            if measure is not None:
                before = self.tokens[start:at]
                if all(token.text in BEFORE_AMOUNT or token.kind == "~" for token in before):
                    self.used.append((0, measure.next))
                else:
                    self.used.append((at, measure.next))
                return self._refined(measure)
            at = following
        return None

    def whole_unit(self) -> Unit | None:
        """The unit that the whole text spells, adjectives included."""
        unit, following = self._unit(0)
        return unit if following == len(self.tokens) else None

    def rest(self) -> str:
        """The text without the quantity and without what is in parentheses."""
        pieces: list[str] = []
        end = 0
        for first, after in sorted(self.used):
            pieces.append(self.text[end : max(end, self.tokens[first].start)])
            end = max(end, self.tokens[after - 1].end)
        pieces.append(self.text[end:])
        rest = re.sub(r"\([^()]*\)|[()]", " ", " ".join(pieces))
        rest = re.sub(r"^[\s,;:/*.+\-]*(?:of\b)?", " ", rest, flags=re.IGNORECASE)
        return " ".join(rest.split()).strip(" ,;/+-:")

    # Where a quantity begins

    def _line_start(self) -> int:
        """Past a list's bullet or number: `• 2 eggs`, `1. 2 eggs`, `2) 200 g`."""
        at = 0
        while self._at(at).kind not in ("word", "number", "(", "-", "end", "~", "."):
            at += 1
        first, second = self._at(at), self._at(at + 1)
        numbered = first.is_integer and second.kind in (")", ".") and second.glued
        if numbered and self._at(at + 2).kind == "number" and not self._at(at + 2).glued:
            return at + 2
        return at

    def _amount_at(self, at: int, start: int) -> tuple[Measure | None, int]:
        """The quantity that begins with token `at`, or None and the token to go on with."""
        token, before = self._at(at), self._at(at - 1)
        if token.kind == "word":
            if token.text == "x" and self._at(at + 1).kind == "number":
                self.used.append((at, at + 1))
                return None, at + 1
            bare = self._bare_unit(at, start)
            if bare is not None:
                return bare, bare.next
        number = self._value(at)
        if number is None:
            return None, at + 1
        skipped = self._no_amount(at)
        if skipped is not None:
            # "1-inch piece ginger", but not "2 cm cubes", is one piece.
            unit, following = self._unit(skipped)
            if at == start and unit is not None and not unit.exact and not unit.of_food:
                return Measure(1.0, self.explicit or unit, following), following
            if at == start and unit is PIECE:
                return Measure(1.0, self.explicit or unit, following), following
            if at == start and self.explicit is not None:
                return Measure(1.0, self.explicit, skipped), skipped
            return None, max(skipped, at + 1)
        if before.text in NOT_BEFORE_AMOUNT and at > start:
            return None, number[1]
        if before.text == "for" and at > start and token.kind == "number":
            return None, number[1]
        if token.kind == "number":
            glued_to_name = token.glued and before.kind == "word" and before.text != "x"
            if glued_to_name or (before.kind == "#") or self._is_name(at, number[1]):
                return None, number[1]
        term = self._term(at, 0)
        if term is None:
            return None, at + 1
        in_middle = token.kind == "word" and at > start and before.text not in ("of", "about", "or")
        if in_middle and (term.unit is None or term.unit.of_food):  # but `a pinch`, `two cups`
            return None, at + 1
        return self._joined(term), term.next

    def _bare_unit(self, at: int, start: int) -> Measure | None:
        """`pinch of salt`, `generous handful`, `cup of milk`: one, at the start of a line."""
        if at != start:
            return None
        unit, following = self._unit(at)
        if unit is None:
            return None
        word = self._at(following - 1).text
        with_of = self._at(following).text == "of" and not word.endswith("s") and len(word) > 1
        described = following > at + 1 and self._at(at).text in ADJECTIVES
        if word in BARE_UNITS or ((with_of or described) and not unit.of_food):
            return Measure(1.0, self.explicit or unit, following)
        return None

    def _is_name(self, at: int, following: int) -> bool:
        """Whether a number is part of a name: `00 flour`, `7-up`, `7up`, `5-spice`."""
        token, after = self._at(at), self._at(following)
        if token.is_integer and len(token.text) > 1 and not token.text.strip("0"):
            return True
        if following != at + 1:
            return False
        if after.kind == "-" and after.glued:
            word = self._at(following + 1)
            return (
                word.kind == "word"
                and word.glued
                and word.text not in ("to", "or", "x")
                and self._unit(following + 1)[0] is None
            )
        if after.kind == "word" and after.glued:
            return len(after.text) <= 2 and after.text != "x" and self._unit(following)[0] is None
        return False

    def _no_amount(self, at: int) -> int | None:
        """The end of a percentage, temperature, time or dimension at `at`: `2%`, `9 x 13-inch`."""
        found = self._value(at)
        if found is None:
            return None
        value, following = found
        for _ in range(3):
            after = self._at(following)
            by = after.kind == "word" and after.text in ("x", "by")
            if not by and after.kind not in ("x", "*"):
                break
            other = self._value(following + 1)
            if other is None:
                break
            if self._is_not_of_food(other[0], other[1]) is not None:
                return self._is_not_of_food(other[0], other[1])
            following = other[1]
        return self._is_not_of_food(value, found[1])

    def _is_not_of_food(self, value: float, at: int) -> int | None:
        hyphen = self._at(at).kind == "-"
        token = self._at(at + 1 if hyphen else at)
        end = at + 2 if hyphen else at + 1
        if hyphen and not token.glued:
            return None
        if token.kind in ("%", "\u00b0", '"', "'"):
            if token.kind == "\u00b0" and self._at(end).text in ("c", "f"):
                end += 1
            return end
        if token.text in NOT_AMOUNTS and token.kind == "word":
            return self._end_of_dimension(end)
        dotted = self._at(end).kind == "." and self._at(end).glued
        if token.text == "in" and token.kind == "word" and (hyphen or dotted or token.glued):
            return self._end_of_dimension(end)
        if token.text == "c" and value >= 50:  # 180 C
            return end
        return None

    def _end_of_dimension(self, at: int) -> int:
        """Past `thick`, `-long`, `square` and an abbreviation's dot."""
        while True:
            token = self._at(at)
            sign = token.kind in (".", "-") and token.glued
            if not sign and token.text not in DIMENSIONS:
                return at
            at += 1

    # Terms

    def _term(self, at: int, depth: int = MAX_DEPTH - 1) -> Measure | None:
        found = self._value(at)
        if found is None or depth > MAX_DEPTH:
            return None
        outermost = depth == 0
        value, following = found
        after = self._at(following)
        if after.kind == "+" and self._at(following + 1).kind == "word":  # 2+ cups
            following += 1
            after = self._at(following)
        if self._is_times(following):
            inner = None if self._no_amount(following + 1) else self._term(following + 1, depth + 1)
            if inner is not None:
                return Measure(value * inner.amount, inner.unit, inner.next)
            following += 1
        elif after.kind == "(":
            sized = self._each_in_parentheses(value, following, depth)
            if sized is not None:
                return sized
            unit, end = self._unit(self._after_parentheses(following))
            if unit is not None:
                self.used.append((following, self._after_parentheses(following)))
                return Measure(value, self._chosen(unit, outermost), end)
        elif after.kind == "number":
            skipped = self._no_amount(following)
            inner = None if skipped else self._term(following, depth + 1)
            if inner is not None and inner.is_exact:
                return Measure(value * inner.amount, inner.unit, self._past_container(inner.next))
            if skipped is not None:
                unit, end = self._unit(skipped)
                return Measure(value, self._chosen(unit, outermost), end if unit else skipped)
        if after.kind == "," and self._at(following + 2).kind == "-":  # 2, 8-oz steaks
            inner = self._measure(following + 1, depth + 1)
            if inner is not None:
                return Measure(value * inner.amount, inner.unit, inner.next)
        if self._at(following).text == "of":
            sized = self._part_of(value, following, depth)
            if sized is not None:
                return sized
        inner = self._hyphen_size(value, at, following)
        if inner is not None:
            return inner
        unit, end = self._unit(following)
        if unit is None:
            return Measure(value, self._chosen(None, outermost), following)
        if unit.exact:
            end = self._past_container(end)
        return Measure(value, self._chosen(unit, outermost), end)

    def _part_of(self, value: float, at: int, depth: int) -> Measure | None:
        """`half of 1 onion`, `1/2 of a cup`, `a couple of sprigs`: `at` is the "of"."""
        following = at + 1
        if self._at(following).text in ("a", "an", "the"):
            following += 1
        outermost = depth == 0
        inner = None if self._no_amount(following) else self._term(following, depth + 1)
        if inner is not None:
            return Measure(value * inner.amount, self._chosen(inner.unit, outermost), inner.next)
        unit, end = self._unit(following)
        if unit is None or (unit.of_food and unit is PIECE):
            return None
        return Measure(value, self._chosen(unit, outermost), end)

    def _hyphen_size(self, value: float, at: int, following: int) -> Measure | None:
        """`2-15 oz cans`, two of a size that the shape of a range does not fit."""
        count, sign, size = self._at(at), self._at(at + 1), self._at(at + 2)
        if not (count.is_integer and sign.kind == "-" and size.kind == "number"):
            return None
        if following != at + 3 or size.value < 5 * count.value:
            return None
        unit, end = self._unit(following)
        if unit is None or not unit.exact or self._at(end).text not in COUNTABLE:
            return None
        return Measure(count.value * size.value, unit, self._past_container(end))

    def _each_in_parentheses(self, count: float, at: int, depth: int) -> Measure | None:
        """`4 (6-ounce) fillets`: a weight or volume before the noun is that of each."""
        inner = self._in_parentheses(at, depth + 1)
        if inner is None:
            return None
        close = self._after_parentheses(at)
        total = any(token.text in TOTAL for token in self.tokens[at:close])
        amount = inner.amount if total else count * inner.amount
        unit, end = self._unit(close)
        if unit is not None and unit.exact:  # "1 (8 oz) cup": the unit says it again
            end = close
        return Measure(amount, inner.unit, self._past_container(end if unit else close))

    def _in_parentheses(self, at: int, depth: int = MAX_DEPTH - 1) -> Measure | None:
        """The weight or volume with which the parentheses at `at` begin."""
        close = self._after_parentheses(at)
        at += 1
        while at < close and (self._at(at).text in APPROXIMATE or self._at(at).kind in ("~", "=")):
            at += 1
        if self._no_amount(at) is not None:
            return None
        term = self._term(at, depth)
        if term is None or not term.is_exact or term.next > close:
            return None
        return self._joined(term)

    def _after_parentheses(self, at: int) -> int:
        """The token after the closing parenthesis of the one at `at`, or after the last token."""
        while self._at(at).kind not in (")", "end"):
            at += 1
        return min(at + 1, len(self.tokens))

    def _is_times(self, at: int) -> bool:
        return self._at(at).text in ("x", "*")

    def _chosen(self, unit: Unit | None, outermost: bool) -> Unit | None:
        return self.explicit if outermost and self.explicit is not None else unit

    # Values

    def _value(self, at: int) -> tuple[float, int] | None:
        """A number or the middle of a range, and the token after it."""
        between = self._at(at).text == "between"
        found = self._number(at + 1 if between else at)
        if found is None:
            return None
        low, following = found
        hyphen = self._at(following).kind == "-"  # "3- to 4-pound"
        at = following + 1 if hyphen and self._at(following + 1).text in ("to", "or") else following
        connector = self._at(at)
        joins = connector.kind in ("-", "~", "/") or connector.text in (
            "to",
            "or",
            "til",
            "till",
            "until",
        )
        if joins or (between and connector.text == "and"):
            at += 1
            if self._at(at).kind == "-" and connector.kind == "word":
                at += 1
            high = self._number(at) if self._at(at).text not in ARTICLES else None
            if high is not None:
                return (low + high[0]) / 2, high[1]
        return found

    def _number(self, at: int) -> tuple[float, int] | None:
        token = self._at(at)
        if token.kind == "number":
            return self._digits(at)
        if token.kind == "word":
            return self._number_words(at)
        return None

    def _digits(self, at: int) -> tuple[float, int]:
        fraction = self._fraction(at)
        if fraction is not None:
            return fraction
        token = self._at(at)
        value = self._separated(at)
        if not token.is_integer:
            return self._times_group(value, at + 1)
        joined = self._at(at + 1).kind in ("-", "&", "+") or self._at(at + 1).text == "and"
        part = self._fraction(at + 2 if joined else at + 1)
        if part is not None and part[0] < 1:
            return value + part[0], part[1]
        if self._at(at + 1).text in ("and", "&"):
            worded = self._part_word(at + 2)
            if worded is not None:
                return value + worded[0], worded[1]
        return self._times_group(value, at + 1)

    def _times_group(self, value: float, at: int) -> tuple[float, int]:
        """`2 dozen`."""
        if self._at(at).text in ("dozen", "dozens"):
            return value * 12, at + 1
        return value, at

    def _fraction(self, at: int) -> tuple[float, int] | None:
        top, slash, bottom = self._at(at), self._at(at + 1), self._at(at + 2)
        if not (top.is_integer and slash.kind == "/" and bottom.is_integer):
            return None
        if min(top.value, bottom.value) >= 20:  # 350/400 g is a range
            return None
        return (top.value / bottom.value if bottom.value else 0.0), at + 3

    def _separated(self, at: int) -> float:
        """The value of a number whose separator may be ambiguous: see the module's docstring."""
        token = self._at(at)
        if token.ambiguous is None:
            return token.value
        unit = self.explicit
        for following in range(at + 1, at + 7):
            following_unit, _ = self._unit(following)
            if following_unit is not None:
                unit = unit or following_unit
                break
        name = "" if unit is None else unit.name
        high, low = max(token.value, token.ambiguous), min(token.value, token.ambiguous)
        if name in ("kg", "l"):
            return low
        return high if name in ("g", "mg", "ml") else token.value

    def _number_words(self, at: int) -> tuple[float, int] | None:
        word = self._at(at).text
        if word in ARTICLES:
            return self._after_article(at + 1)
        if word in ("half", "quarter"):
            if [self._at(at + n).text for n in (1, 2)] in (["and", "half"], ["&", "half"]):
                return None
            if [self._at(at + n).text for n in range(1, 5)] == ["-", "and", "-", "half"]:
                return None
            return self._after_part(FRACTIONS[word], at + 1)
        if word in ("dozen", "couple"):
            return GROUPS[word], at + 1
        if word == "few":
            return 3.0, at + 1
        found = self._cardinal(at)
        if found is None:
            return None
        value, following = found
        hyphen = self._at(following).kind == "-"
        part = self._at(following + 1 if hyphen else following).text
        if part in FRACTIONS:  # two thirds
            return self._after_part(value * FRACTIONS[part], following + (2 if hyphen else 1))
        if self._at(following).text in ("and", "&"):
            more = self._part_word(following + 1) or self._proper_fraction(following + 1)
            if more is not None:
                return value + more[0], more[1]
        group = GROUPS.get(part) if not hyphen else None
        if group is not None:
            return value * group, following + 1
        return value, following

    def _proper_fraction(self, at: int) -> tuple[float, int] | None:
        found = self._fraction(at)
        return found if found is not None and found[0] < 1 else None

    def _cardinal(self, at: int) -> tuple[float, int] | None:
        """`seven`, `twenty-five`, `two hundred and fifty`."""
        word = self._at(at).text
        value = ONES.get(word)
        following = at + 1
        if value is None:
            value = TENS.get(word)
            if value is None:
                return None
            second = following + 1 if self._at(following).kind == "-" else following
            ones = ONES.get(self._at(second).text, 10)
            if ones < 10:
                value, following = value + ones, second + 1
        if self._at(following).text == "hundred":
            value, following = value * 100, following + 1
            second = following + 1 if self._at(following).text == "and" else following
            if self._at(second).text in ONES or self._at(second).text in TENS:
                more = self._cardinal(second)
                if more is not None and more[0] < 100:
                    value, following = value + int(more[0]), more[1]
        return float(value), following

    def _after_article(self, at: int) -> tuple[float, int] | None:
        """`a half`, `a dozen`, `a few`, `a couple of`, `a good cup`: `at` is after the article."""
        word = self._at(at).text
        if word in FRACTIONS:
            return self._after_part(FRACTIONS[word], at + 1)
        if word in GROUPS:
            return GROUPS[word], at + 1
        if word == "few":
            return 3.0, at + 1
        if word in ("little", "bit", "lot", "touch"):
            unit, _ = self._unit(at)
            return None if unit is None else (1.0, at)
        if word in ("good", "generous") and self._at(at + 1).text in GROUPS:
            return GROUPS[self._at(at + 1).text], at + 2
        after = self._at(at)
        if after.kind == "number" and after.glued:  # A1 sauce
            return None
        return (1.0, at) if after.kind in ("word", "number", "(") else None

    def _after_part(self, value: float, at: int) -> tuple[float, int]:
        """`half a`, `a third of a`, `half dozen`: `at` is after the part."""
        following = at + 1 if self._at(at).kind == "-" and self._at(at).glued else at
        second = following + 1 if self._at(following).text == "of" else following
        if self._at(second).text in ("a", "an", "the"):
            following = second + 1
        if self._at(following).text == "dozen":
            return value * 12, following + 1
        return value, following

    def _part_word(self, at: int) -> tuple[float, int] | None:
        """`half`, `a half`, `one third`, `three quarters` behind a whole number."""
        value, following = 1.0, at
        if self._at(at).text in ARTICLES:
            following = at + 1
        elif self._at(at).text in ONES:
            value, following = float(ONES[self._at(at).text]), at + 1
            if self._at(following).kind == "-":
                following += 1
        part = FRACTIONS.get(self._at(following).text)
        return None if part is None or value * part >= 1 else (value * part, following + 1)

    # Units

    def _unit(self, at: int) -> tuple[Unit | None, int]:
        """The unit at `at`, past adjectives and a hyphen, and the token after it.

        A size (`large`) is a unit where no other follows.
        """
        if self._at(at).kind == "-" and self._at(at + 1).kind == "word":
            at += 1
        size: tuple[Unit, int] | None = None
        for _ in range(6):
            unit, following = self._unit_word(at)
            word = self._at(at).text
            if unit is not None and not (unit.of_food and word in ADJECTIVES):
                return unit, following
            if unit is not None:
                size = size or (unit, following)
            elif size is not None and word in ("sized", "size"):
                size = (size[0], at + 1)
            elif word not in ADJECTIVES and not self._joins_adjectives(at):
                break
            at += 1
        return (None, at) if size is None else size

    def _joins_adjectives(self, at: int) -> bool:
        """Whether a hyphen or a comma between adjectives is at `at`: `extra-large`."""
        kind = self._at(at).kind
        return kind == "-" or (kind == "," and self._at(at - 1).text in ADJECTIVES)

    def _unit_word(self, at: int) -> tuple[Unit | None, int]:
        token = self._at(at)
        if token.kind != "word":
            return None, at
        end = at + 1
        dot = self._at(end).kind == "." and self._at(end).glued
        second = end + 1 if dot else end
        unit = UNITS.get(f"{token.text} {self._at(second).text}")
        if unit is not None:
            end = second + 1
            dot = self._at(end).kind == "." and self._at(end).glued
        else:
            unit = unit_of(token.text)
        if unit is None:
            return None, at
        return unit, end + 1 if dot else end

    def _past_container(self, at: int) -> int:
        """Past the container of a measure: `400 g tin`, `12-oz. can`."""
        unit, following = self._unit_word(at)
        if self._at(at).kind == "-":
            unit, following = self._unit_word(at + 1)
        return following if unit is not None and unit.kind is Kind.CONTAINER else at

    # What follows a quantity

    def _joined(self, term: Measure) -> Measure:
        """`term` with the terms that follow it directly: sums, alternatives, ranges, `x 2`."""
        for _ in range(8):
            joined = self._join_one(term)
            if joined is None:
                return term
            term = joined
        return term

    def _join_one(self, term: Measure) -> Measure | None:
        at = term.next
        token = self._at(at)
        if self._is_times(at):
            return self._multiplied(term, at + 1)
        if token.kind == "number" or (token.kind == "," and self._at(at + 1).kind == "number"):
            other = self._measure(at + 1 if token.kind == "," else at)
            if other is None:
                return None
            if self._is_smaller_part(term, other):
                return self._sum(term, other, 1)
            return self._alternative(term, other) if token.kind == "number" else None
        if token.text in ("plus", "and", "minus", "less") or token.kind in ("+", "&"):
            return self._added(term, at)
        if token.kind in ("/", "=", "|", "~", "-") or token.text in ("or", "to"):
            following = at + 1
            while self._at(following).text in APPROXIMATE or self._at(following).kind == "~":
                following += 1
            other = self._measure(following)
            if other is None:
                return self._open_range(term, at)
            if token.kind in ("-", "~") or token.text in ("to", "or"):
                middle = self._middle(term, other)
                if middle is not None:
                    return middle
            return self._alternative(term, other)
        return None

    def _open_range(self, term: Measure, at: int) -> Measure | None:
        """`a tablespoon or two of oil`: `at` is the word."""
        high = self._number(at + 1) if self._at(at).text in ("or", "to") else None
        if high is None or self._at(high[1]).text not in ("of", ",", ""):
            return None
        return Measure((term.amount + high[0]) / 2, term.unit, high[1])

    def _measure(self, at: int, depth: int = MAX_DEPTH - 1) -> Measure | None:
        """An exact weight or volume at `at`."""
        if self._no_amount(at) is not None:
            return None
        term = self._term(at, depth)
        return term if term is not None and term.is_exact else None

    def _multiplied(self, term: Measure, at: int) -> Measure | None:
        """`400 g x 2`, `2 tins x 400 g`: `at` is after the sign."""
        if self._no_amount(at) is not None:
            return None
        other = self._term(at)
        if other is None:
            return None
        unit = other.unit if other.is_exact and not term.is_exact else term.unit
        if other.is_exact and term.is_exact:
            return None
        return Measure(term.amount * other.amount, unit, other.next)

    def _added(self, term: Measure, at: int) -> Measure | None:
        """`2 cups plus 1 tbsp`, `a cup and a half`, `3 + 1 eggs`: `at` is the sign or word."""
        sign = -1 if self._at(at).text in ("minus", "less") else 1
        joins_counts = self._at(at).kind == "+" or self._at(at).text == "plus"
        following = at + 1
        while joins_counts and self._at(following).text in EXTRA - ARTICLES:
            following += 1
        if self._no_amount(following) is not None:
            return None
        fraction = self._part_word(following) or self._proper_fraction(following)
        if sign > 0 and fraction is not None and self._unit(fraction[1])[0] is None:
            return Measure(term.amount + fraction[0], term.unit, fraction[1])
        other = self._term(following)
        if other is None:
            return None
        if term.unit is None and joins_counts and not other.is_exact:
            return Measure(term.amount + other.amount, other.unit, other.next)
        return self._sum(term, other, sign)

    def _sum(self, term: Measure, other: Measure, sign: int) -> Measure | None:
        if term.unit is None or other.unit is None or not (term.unit.exact and other.unit.exact):
            return None
        if term.unit.kind is not other.unit.kind:
            return None
        amount = term.amount + sign * other.amount * other.unit.size / term.unit.size
        # 16 oz of 28.35 g are not quite 1 lb of 453.59 g.
        return Measure(max(0.0, round(amount, 4)), term.unit, other.next)

    def _is_smaller_part(self, term: Measure, other: Measure) -> bool:
        """`1 lb 8 oz`, `1 kg 200 g`, `1 cup 2 tbsp`, and not `8 oz 225 g`."""
        if term.unit is None or other.unit is None or not term.unit.exact:
            return False
        return (
            term.unit.kind is other.unit.kind
            and term.unit.metric == other.unit.metric
            and other.unit.size < term.unit.size
            and other.amount * other.unit.size < term.unit.size
        )

    def _middle(self, term: Measure, other: Measure) -> Measure | None:
        """The middle of `200 g - 250 g`, `1 tsp to 1 tbsp`; None for `8 oz - 225 g`."""
        if term.unit is None or other.unit is None or term.unit.kind is not other.unit.kind:
            return None
        if not term.unit.exact or term.unit.metric != other.unit.metric:
            return None
        high = other.amount * other.unit.size / term.unit.size
        return Measure((term.amount + high) / 2, term.unit, other.next)

    def _alternative(self, term: Measure, other: Measure) -> Measure:
        """The more precise of two ways to say the same; the first of equals."""
        better = other if other.rank > term.rank else term
        return Measure(better.amount, better.unit, other.next)

    def _refined(self, measure: Measure) -> Measure:
        """`measure` by the weights and volumes that the rest of the line states for it."""
        at = measure.next
        while at < len(self.tokens):
            token = self._at(at)
            end = at + 1
            if token.kind == "(":
                end = self._after_parentheses(at)
                inner = self._in_parentheses(at)
                if inner is not None:
                    measure = self._sized(measure, inner, self.tokens[at:end])
            elif token.kind in (",", ";", "-", ":", "=", "/") or token.text in ("weighing",):
                measure, end = self._clause(measure, at)
            elif token.text == "plus" or token.kind == "+":
                measure, end = self._extra(measure, at)
            elif self._is_times(at) and self._is_last_number(at + 1):
                measure = Measure(
                    measure.amount * self._at(at + 1).value, measure.unit, measure.next
                )
                self.used.append((at, at + 2))
                end = at + 2
            at = end
        return measure

    def _is_last_number(self, at: int) -> bool:
        return self._at(at).kind == "number" and self._at(at + 1).kind in CLAUSE_END

    def _clause(self, measure: Measure, at: int) -> tuple[Measure, int]:
        """`, about 200 g each`: a clause that is a weight and nothing else. `at` is its sign."""
        first = at + 1
        while self._at(first).text in APPROXIMATE | {"plus", "weighing"} or self._at(
            first
        ).kind in ("~", "+"):
            if self._at(first).text == "plus" or self._at(first).kind == "+":
                return measure, first
            first += 1
        other = self._measure(first)
        if other is None:
            return measure, at + 1
        other = self._joined(other)
        end = other.next
        while self._at(end).text in EACH | TOTAL | {"in", "weight", "per", "a", "piece", "of"}:
            end += 1
        if self._at(end).kind not in CLAUSE_END:
            return measure, end
        self.used.append((at, end))
        return self._sized(measure, other, self.tokens[at:end]), end

    def _extra(self, measure: Measure, at: int) -> tuple[Measure, int]:
        """`200 g flour plus 50 g for dusting`: more of the same food. `at` is the sign."""
        first = at + 1
        while self._at(first).text in EXTRA:
            first += 1
        other = self._measure(first)
        if other is None:
            return measure, first
        after = self._at(other.next)
        if after.kind not in CLAUSE_END and after.text not in AFTER_EXTRA:
            return measure, other.next
        self.used.append((at, len(self.tokens)))
        summed = self._sum(measure, other, 1)
        return (measure if summed is None else summed), other.next

    def _sized(self, measure: Measure, other: Measure, around: Sequence[Token]) -> Measure:
        """`measure` with `other` of the same line: the size of each, or the same more precisely."""
        words = {token.text for token in around}
        container = measure.unit is not None and measure.unit.kind is Kind.CONTAINER
        each = bool(words & EACH) or ("per" in words) or (container and not words & TOTAL)
        if measure.is_exact:
            if each and bool(words & EACH):
                return measure
            return measure if measure.rank >= other.rank else Measure(other.amount, other.unit, 0)
        count = measure.amount if each else 1.0
        return Measure(count * other.amount, other.unit, measure.next)

    # Tokens

    def _at(self, at: int) -> Token:
        return self.tokens[at] if 0 <= at < len(self.tokens) else END

    def _group_by_spaces(self, tokens: list[Token]) -> list[Token]:
        """`1 000 g` and `2 400 g` as one number; but `2 400 g tins` are two of 400 g."""
        merged: list[Token] = []
        counted = _counted_nouns_ahead(tokens)
        for at, token in enumerate(tokens):
            before = merged[-1] if merged else END
            after = tokens[at + 1] if at + 1 < len(tokens) else END
            group = (
                token.is_integer
                and len(token.text) == 3
                and before.is_integer
                and token.start - before.end == 1
                and 1 <= len(before.text) <= 3
                and not before.text.startswith("0")
                and after.kind == "word"
            )
            unit = unit_of(after.text) if group else None
            if unit is not None and unit.name in ("g", "mg", "ml") and not counted[at]:
                text = before.text + token.text
                joined = Token(
                    "number", text, before.start, token.end, before.glued, number_of(text)
                )
                merged[-1] = joined
            else:
                merged.append(token)
        return merged


def _counted_nouns_ahead(tokens: Sequence[Token]) -> list[bool]:
    """For each token, whether a counted noun follows before the next comma or parenthesis."""
    ahead = False
    results: list[bool] = []
    for token in reversed(tokens):
        if token.kind in (",", "(", ";"):
            ahead = False
        elif token.text in COUNTABLE:
            ahead = True
        results.append(ahead)
    return results[::-1]
