"""Secrets by name: the list of sensitive keys for logs and error reports.

A key is split into its words, whatever its style (`purchaseToken`, `purchase_token`,
`Purchase-Token`, `PURCHASE_TOKEN`), digits and plurals are ignored, and the words are compared
whole: `tokenHash` holds the word `token`, `tokenizer` does not.
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
    "totp",
    "dsn",
    "client assertion",
    "magic link",
    "api key",
    "access key",
    "account key",
    "anon key",
    "auth key",
    "hmac key",
    "master key",
    "session key",
    "ssh key",
    "webhook key",
    "encryption key",
    "private key",
    "role key",
    "secret key",
    "server key",
    "service key",
    "signing key",
    "pin code",
    "verification code",
    "auth code",
    "authorization code",
    "backup code",
    "mfa code",
    "one time code",
    "recovery code",
    "reset code",
    "security code",
    "sms code",
    # Addresses that carry a password
    "connection string",
    "conninfo",
    "database url",
    "redis url",
    # Payments
    "receipt",
    "card no",
    "card num",
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

# At the end of a key: `userEmail` is a person's, `emailTemplate` is ours; `dbPass` is a password,
# `passCount` is not.
AT_THE_END: Sequence[str] = [
    "pass",
    "dbpass",
    "pgpass",
    "userpass",
    "pin",
    "auth",
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
    "pass",
    "otp",
    "pin",
    "pin code",
    "verification code",
    "mfa code",
    "one time code",
    "security code",
    "sms code",
    "card no",
    "card num",
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

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _parts(key: str) -> list[str]:
    """The words of a key, lower case and without a plural's `s`: `pass` is none."""
    parts = (part.lower() for part in _PART.findall(key))
    return [
        part[:-1] if len(part) > 3 and part.endswith("s") and not part.endswith("ss") else part
        for part in parts
    ]


def _compare_form(terms: Sequence[str]) -> frozenset[str]:
    return frozenset("".join(_parts(term)) for term in terms)


_SECRETS = _compare_form(SECRETS)
_AT_THE_END = _compare_form(AT_THE_END)
_DIGITS = _compare_form(DIGITS)
# Words of a key that may make one term: `PaSsWoRd` is four.
_MAX_LENGTH = 10
# Keys without separators: `accesstoken`, `creditcardnumber`, `passwordconfirmation`.
_ENDINGS = tuple(term.replace(" ", "") for term in SECRETS if len(term) > (6 if " " in term else 4))
_MAX_KEY_LENGTH = 128


@lru_cache(maxsize=2048)
def _sensitivity(key: str) -> Sensitivity:
    parts = _parts(key)
    if parts == ["name"]:
        return Sensitivity.NAME
    level = Sensitivity.PLAIN
    for end in range(1, len(parts) + 1):
        last = end == len(parts)
        for start in range(max(0, end - _MAX_LENGTH), end):
            run = "".join(parts[start:end])
            if last and run in _DIGITS:
                return Sensitivity.ALL
            if run in _SECRETS or (last and run in _AT_THE_END):
                level = Sensitivity.TEXT
        part = parts[end - 1]
        if part.endswith(_ENDINGS) or "password" in part:
            level = Sensitivity.TEXT
    return level


def sensitivity(key: str) -> Sensitivity:
    """What may be shown of a value that stands under `key`. Pure; never raises."""
    if len(key) > _MAX_KEY_LENGTH:
        return _sensitivity.__wrapped__(key[-_MAX_KEY_LENGTH:])
    return _sensitivity(key)


def is_secret(key: str) -> bool:
    """Whether text under `key` is never shown."""
    return sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)
