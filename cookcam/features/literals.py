"""Refusals worded as clients know them."""

from __future__ import annotations

from cookcam.errors import ValidationError


def refused(words: str, field: str) -> ValidationError:
    """A 400 about one field whose `error` is `words`: a literal that clients show and match on."""
    return ValidationError(words, error=words, details={"field": field, "rule": words})
