"""What is secret, by name: the one list that logs and error reports are scrubbed with.

A key is split into its words, whatever its style (`purchaseToken`, `purchase_token`,
`Purchase-Token`, `PURCHASE_TOKEN`), digits and plurals are ignored, and the words are compared
whole: `tokenHash` holds the word `token`, `tokenizer` does not. `spec/operations.md` §4, §5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache


class Sensitivity(Enum):
    """What may be shown of the value under a key."""

    PLAIN = "plain"  # everything
    NAME = "name"  # everything, unless the key stands beside a secret: then it names a person
    TEXT = "text"  # booleans and numbers: `hasJwtSecret`, `passwordLength`, `tokenCount`
    ALL = "all"  # booleans only: the value is secret even where it is made of digits


# Anywhere in a key.
SECRETS: Sequence[str] = [
    # What proves who one is
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "authorization",
    "bearer",
    "jwt",
    "cookie",
    "csrf",
    "xsrf",
    "signature",
    "otp",
    "dsn",
    "api key",
    "access key",
    "account key",
    "anon key",
    "encryption key",
    "private key",
    "role key",
    "server key",
    "service key",
    "signing key",
    "pin code",
    "verification code",
    # Addresses that carry a password
    "connection string",
    "conninfo",
    "database url",
    "redis url",
    # Payments
    "receipt",
    "card number",
    "cvv",
    "cvc",
    "iban",
    "account number",
    "routing number",
    "signed payload",
    "signed transaction",
    "tax id",
    # Papers
    "ssn",
    "social security number",
    # Photographs
    "image data",
    "image base",
    "photo data",
]

# At the end of a key: `userEmail` is a person's, `emailTemplate` is ours.
PERSONAL: Sequence[str] = [
    "email",
    "e mail",
    "email address",
    "phone",
    "phone number",
    "mobile number",
    "first name",
    "last name",
    "full name",
    "display name",
    "user name",
    "birthday",
    "birth date",
    "date of birth",
    "dob",
    "street",
    "street address",
    "postal code",
    "zip code",
    "ip",
    "ip address",
    "remote addr",
    "remote address",
    "client address",
    "forwarded",
    "forwarded for",
]

# At the end of a key, numbers too.
DIGITS: Sequence[str] = [
    "password",
    "passwd",
    "pwd",
    "passcode",
    "otp",
    "pin code",
    "verification code",
    "card number",
    "cvv",
    "cvc",
    "account number",
    "routing number",
    "tax id",
    "ssn",
    "social security number",
    "phone",
    "phone number",
    "mobile number",
]

# Validators report a field and its value side by side: `{"field": "password", "value": …}`.
FIELD_KEYS = frozenset({"name", "key", "field", "path", "param", "header"})
VALUE_KEYS = frozenset({"value", "input"})

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _words(key: str) -> list[str]:
    """The words of a key, lower case and without a plural's `s`."""
    words = (word.lower() for word in _WORD.findall(key))
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words]


def _compare_form(terms: Sequence[str]) -> frozenset[str]:
    return frozenset("".join(_words(term)) for term in terms)


_SECRETS = _compare_form(SECRETS)
_PERSONAL = _compare_form(PERSONAL)
_DIGITS = _compare_form(DIGITS)
_LONGEST = max(len(term.split()) for term in [*SECRETS, *PERSONAL, *DIGITS])
# A key in one breath: `accesstoken`, `passwordconfirmation`.
_ENDINGS = tuple(term for term in SECRETS if " " not in term and len(term) > 4)
_LONGEST_KEY = 128


@lru_cache(maxsize=2048)
def _sensitivity(key: str) -> Sensitivity:
    words = _words(key)
    if words == ["name"]:
        return Sensitivity.NAME
    found = Sensitivity.PLAIN
    for end in range(1, len(words) + 1):
        last = end == len(words)
        for start in range(max(0, end - _LONGEST), end):
            run = "".join(words[start:end])
            if last and run in _DIGITS:
                return Sensitivity.ALL
            if run in _SECRETS or (last and run in _PERSONAL):
                found = Sensitivity.TEXT
        word = words[end - 1]
        if word.endswith(_ENDINGS) or "password" in word:
            found = Sensitivity.TEXT
    return found


def sensitivity(key: str) -> Sensitivity:
    """What may be shown of a value that stands under `key`. Pure; never raises."""
    if len(key) > _LONGEST_KEY:
        return _sensitivity.__wrapped__(key[-_LONGEST_KEY:])
    return _sensitivity(key)


def is_secret(key: str) -> bool:
    """Whether text under `key` is never shown."""
    return sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)
