"""Numbers, words and signs of a normalised ingredient line."""

from __future__ import annotations

import re

from attrs import frozen

GREATEST = 1_000_000.0
"""The largest amount; a larger one is read as this."""


_TOKEN = re.compile(
    r"(?P<number>\d+(?:[.,]\d+|'\d{3}(?!\d))*|(?<![\d.])\.\d+)"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)?)"
    r"|(?P<sign>\S)"
)


@frozen
class Token:
    """`kind` is "number", "word", "end" or the sign itself; `text` is lower case but for a unit's
    "T"; `glued` says that no space is before it."""

    kind: str
    text: str
    start: int
    end: int
    glued: bool
    value: float = 0.0
    ambiguous: float | None = None

    @property
    def is_integer(self) -> bool:
        return self.kind == "number" and self.text.isdecimal()


def tokenize(text: str) -> list[Token]:
    tokens: list[Token] = []
    end = -1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        written = match[0]
        value, ambiguous = _decimal(written) if kind == "number" else (0.0, None)
        if kind == "sign":
            kind = written
        if written not in ("T", "t"):
            written = written.lower()
        glued = match.start() == end
        end = match.end()
        tokens.append(Token(kind, written, match.start(), end, glued, value, ambiguous))
    return tokens


def _decimal(text: str) -> tuple[float, float | None]:
    """The value of digits with separators, and the other value that an ambiguous one may have:
    the decimal for "1,000", the thousands for "1.000"."""
    text = text.replace("'", "")
    commas, dots = text.count(","), text.count(".")
    if commas and dots:
        decimal = "," if text.rfind(",") > text.rfind(".") else "."
        plain = text.replace("." if decimal == "," else ",", "")
        return number_of(plain.replace(decimal, ".", 1)), None
    if not commas and not dots:
        return number_of(text), None
    separator = "," if commas else "."
    groups = text.split(separator)
    thousands = all(len(group) == 3 for group in groups[1:])
    thousands = thousands and 1 <= len(groups[0]) <= 3 and not groups[0].startswith("0")
    if len(groups) > 2:
        return number_of("".join(groups) if thousands else ".".join(groups[:2])), None
    decimal_value, joined = number_of(".".join(groups)), number_of("".join(groups))
    if not thousands:
        return decimal_value, None
    return (joined, decimal_value) if separator == "," else (decimal_value, joined)


def number_of(text: str) -> float:
    """A number of digits and dots; what follows a second dot is cut off."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.partition(".")[0]
    return limited(float(f"{whole or '0'}.{fraction or '0'}"))


def limited(amount: float) -> float:
    return min(max(amount, 0.0), GREATEST)


END = Token("end", "", 0, 0, False)
