"""Refusals worded as clients know them."""

from __future__ import annotations

from cookcam.errors import ValidationError
from cookcam.text import clean_line, clean_prose


def refused(words: str, field: str) -> ValidationError:
    """A 400 about one field whose `error` is `words`: a literal that clients show and match on."""
    return ValidationError(words, error=words, details={"field": field, "rule": words})


def visible_line(text: str, field: str) -> str:
    """`clean_line` of a field that must show something. Raises ValidationError."""
    return _visible(clean_line(text), field)


def visible_prose(text: str, field: str) -> str:
    """`clean_prose` of a field that must show something. Raises ValidationError."""
    return _visible(clean_prose(text), field)


def _visible(text: str, field: str) -> str:
    if not text:
        raise ValidationError.of(field, "must have a visible character")
    return text
