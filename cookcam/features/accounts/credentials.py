"""Validation of sign-in and sign-up fields.

E-mail addresses are trimmed and lower-cased, names are cleaned (`cookcam.text`). A password is
never changed: leading spaces and angle brackets are part of it.
"""

from __future__ import annotations

import re

from cookcam.features.literals import rejected_field
from cookcam.text import VISIBLE_PATTERN, clean_line

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+\.[^\s@\x00-\x1f\x7f]+")

MAX_EMAIL_LENGTH = 320
MAX_TEXT_LENGTH = 1000
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_BYTES = 72
"""Supabase Auth hashes with bcrypt, which reads 72 bytes; it rejects longer passwords."""
MIN_NAME_LENGTH = 2
NAME_PATTERN = rf"{VISIBLE_PATTERN}[\s\S]*{VISIBLE_PATTERN}"
"""Two visible characters."""


def checked_email(email: str) -> str:
    """The address in lower case, without the surrounding spaces that phone keyboards add.

    Raises ValidationError.
    """
    address = email.strip()
    if len(email) > MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(address):
        raise rejected_field("Invalid email format", "email")
    return address.lower()


def checked_new_password(password: str) -> str:
    """The password, unchanged. Raises ValidationError."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise rejected_field(
            f"Password must be at least {MIN_PASSWORD_LENGTH} characters long", "password"
        )
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise rejected_field(
            f"Password must be at most {MAX_PASSWORD_BYTES} bytes long (letters outside of English"
            " take two or more)",
            "password",
        )
    return password


def checked_name(name: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """The name after `clean_line`. Raises ValidationError."""
    cleaned = clean_line(name)
    if len(cleaned) < MIN_NAME_LENGTH or not re.search(NAME_PATTERN, name):
        raise rejected_field(f"Name must be at least {MIN_NAME_LENGTH} characters", "name")
    if len(name) > max_length:
        raise rejected_field(f"Name must be at most {max_length} characters", "name")
    return cleaned
