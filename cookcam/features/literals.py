"""Validation helpers whose error texts are literals that clients match on."""

from __future__ import annotations

from cookcam.errors import ValidationError
from cookcam.text import clean_line, clean_prose


def rejected_field(message: str, field: str) -> ValidationError:
    """A 400 about one field. `message` becomes `error` too: a literal that clients match on."""
    return ValidationError(message, error=message, details={"field": field, "rule": message})


def visible_line(text: str, field: str) -> str:
    """`clean_line`, for a field that needs a visible character. Raises ValidationError."""
    return _visible(clean_line(text), field)


def visible_prose(text: str, field: str) -> str:
    """`clean_prose`, for a field that needs a visible character. Raises ValidationError."""
    return _visible(clean_prose(text), field)


def _visible(text: str, field: str) -> str:
    if not text:
        raise ValidationError.of(field, "must have a visible character")
    return text
