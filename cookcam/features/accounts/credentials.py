"""The rules of what is typed into a sign-in or sign-up form (`spec/http-api-core.md` §3.9).

Nothing is trimmed or rewritten, save that e-mail addresses are compared in lower case: a password
with edge spaces or angle brackets is that password.
"""

from __future__ import annotations

import re

from cookcam.features.literals import refused

_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+\.[^\s@\x00-\x1f\x7f]+")

LONGEST_EMAIL = 320
LONGEST_TEXT = 1000
SHORTEST_PASSWORD = 8
SHORTEST_NAME = 2


def checked_email(email: str) -> str:
    """The address in lower case. Raises ValidationError."""
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise refused("Invalid email format", "email")
    return email.lower()


def checked_new_password(password: str) -> str:
    """The password as it is. Raises ValidationError."""
    if len(password) < SHORTEST_PASSWORD:
        raise refused(f"Password must be at least {SHORTEST_PASSWORD} characters long", "password")
    if len(password) > LONGEST_TEXT:
        raise refused(f"Password must be at most {LONGEST_TEXT} characters long", "password")
    return password


def checked_name(name: str, longest: int = LONGEST_TEXT) -> str:
    """The name as it is. Raises ValidationError."""
    if len(name.strip()) < SHORTEST_NAME:
        raise refused(f"Name must be at least {SHORTEST_NAME} characters", "name")
    if len(name) > longest or "\0" in name:
        raise refused(f"Name must be at most {longest} characters", "name")
    return name
