"""Reads CSV rows. An unclosed quote makes only its own line unusable."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice

from cookcam.features.food.ingredients.importing.records import BadRow

MAX_FIELD_LENGTH = 1024 * 1024
"""Maximum characters of a field, and of the text that is read ahead for a closing quote."""


class WrongWidth(BadRow):
    """A row whose number of fields differs from the header's."""


class CsvRows:
    """Reads RFC 4180 rows from the lines of a text.

    A quoted field may span lines. If one of these lines is a complete row itself, or the field has
    no end, the quote counts as unclosed: the first line is rejected, the others are read as rows.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        csv.field_size_limit(MAX_FIELD_LENGTH)
        self._lines = iter(lines)
        self._put_back: list[str] = []  # the next line is the last one
        self._taken: list[str] = []
        self._rows = csv.reader(_Recorded(self._lines, self._put_back, self._taken), strict=True)
        self._width: int | None = None
        self._key = 0
        self.line = 0  # lines read so far; the number of the row's last line

    def expect(self, width: int, key: int) -> None:
        """Set the number of fields of a row and the index of its numeric field."""
        self._width, self._key = width, key

    def skip_to(self, line: int) -> None:
        self.line += sum(1 for _ in islice(self._lines, max(0, line - self.line)))

    def next_row(self) -> list[str] | None:
        """The fields of the next row, empty for an empty line; None at the end of the file.

        Raises BadRow for a line that is not a row, WrongWidth for a row with another number of
        fields. The next call continues after that line.
        """
        taken = self._taken
        taken.clear()
        try:
            fields = next(self._rows, None)
        except csv.Error as error:
            spans = len(taken) > 1 or "unexpected end" in str(error)
            self._keep_first_line()
            why = "a quote is not closed" if spans else str(error)
            raise BadRow(f"not CSV: {why}") from None
        if fields is None:
            return None
        if len(taken) > 1 and any(map(self._is_row, taken[1:])):
            self._keep_first_line()
            raise BadRow("not CSV: a quote is not closed")
        if fields and self._width is not None and len(fields) != self._width:
            self._keep_first_line()
            raise WrongWidth(f"{len(fields)} fields where {self._width} belong")
        self.line += len(taken)
        return fields

    def _keep_first_line(self) -> None:
        """Put back all lines of the row except the first."""
        self._put_back.extend(reversed(self._taken[1:]))
        self.line += 1

    def _is_row(self, line: str) -> bool:
        try:
            fields = next(csv.reader([line], strict=True), list[str]())
        except csv.Error:
            return False
        return len(fields) == self._width and fields[self._key].strip().isdecimal()


class _Recorded(Iterator[str]):
    """Lines for `csv.reader`, starting with those put back. Records the lines it returns."""

    def __init__(self, lines: Iterator[str], put_back: list[str], taken: list[str]) -> None:
        self._lines, self._put_back, self._taken = lines, put_back, taken

    def __next__(self) -> str:
        line = self._put_back.pop() if self._put_back else next(self._lines)
        self._taken.append(line)
        return line
