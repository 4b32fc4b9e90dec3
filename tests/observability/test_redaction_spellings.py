"""Any spelling of a secret's key, any place of the value: it is gone, and ordinary words stay."""

from __future__ import annotations

import json
import string
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.observability.logging import get_logger
from cookcam.observability.redaction import Sensitivity, redact, redact_text, sensitivity
from cookcam.observability.redaction.names import DIGITS, SECRETS
from cookcam.observability.redaction.text import is_card_number
from cookcam.observability.sentry_events import scrubbed

R = "[REDACTED]"

SECRET_KEYS = [
    *(
        "PassWord",
        "pass_word",
        "passPhrase",
        "dbPass",
        "DB_PASS",
        "db-pass",
        "PaSsWoRd",
        "PASSword",
    ),
    *("smtp.pass", "userPin", "pin_codes", "X-Auth", "basicAuth", "OTPCode", "totp", "mfaCode"),
    *("securityCode", "cardNo", "card_num", "creditcardnumber", "IBAN", "customerIban", "SSN"),
    *("accessKeyId", "SECRETKEY", "sessionKey", "session-token", "masterkey", "webhook_key"),
    *("Set-Cookie", "proxy-authorization", "magicLink", "recoveryCodes", "PGPASSWORD", "userpass"),
]
ORDINARY_KEYS = [
    *("passenger", "passengerCount", "compass", "bypass", "tokenize", "tokenizer", "passCount"),
    *("passed", "spin", "pinned", "shopping", "author", "authority", "sessionId", "cookTime"),
    *("secretary", "monkey", "keyboard", "opinion", "discard", "cardinality", "hash", "passage"),
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_spelling_of_a_secret_is_recognised(key: str) -> None:
    assert sensitivity(key) in (Sensitivity.TEXT, Sensitivity.ALL)


@pytest.mark.parametrize("key", ORDINARY_KEYS)
def test_ordinary_word_is_shown(key: str) -> None:
    assert sensitivity(key) is Sensitivity.PLAIN
    assert redact({key: "plain words"}) == {key: "plain words"}
    assert redact_text(f"{key}=words") == f"{key}=words"


def spellings(term: str) -> st.SearchStrategy[str]:
    """The styles in which programs, headers and environments write a name."""
    words = term.split()
    styles = [
        "".join(words) if len("".join(words)) > 5 else "_".join(words),
        "_".join(words),
        "-".join(words),
        ".".join(words),
        words[0] + "".join(word.title() for word in words[1:]),
        "".join(word.title() for word in words),
        "-".join(word.title() for word in words),
        "_".join(words).upper(),
        " ".join(words).title(),
    ]
    prefixes = st.sampled_from(["", "my_", "user-", "X-", "APP_", "new "])
    return st.builds(str.__add__, prefixes, st.sampled_from(styles))


KEYS = st.sampled_from([*SECRETS, *DIGITS]).flatmap(spellings)
# Long and random, so that it cannot be a part of anything else in the record.
VALUES = st.text(string.ascii_letters + string.digits, min_size=16, max_size=24).map("7".__add__)


@settings(max_examples=300, deadline=None)
@given(KEYS, VALUES)
def test_value_under_any_spelling_leaves_in_no_log_line_and_no_report(key: str, value: str) -> None:
    name = key.replace(" ", "_")
    texts = [
        json.dumps({key: value}),
        repr({key: value}),
        f"{name}={value}&page=2",
        f"Login({name.replace('-', '_').replace('.', '_')}={value!r})",
        f"{name.replace('.', '-')}: {value}\r\nHost: x",
    ]
    for text in texts:
        assert value not in redact_text(text), text
    event = {
        "exception": {"values": [{"type": "ValueError", "value": f"cannot use {value}"}]},
        "extra": {key: value, "nested": [{"deep": {key: value}}]},
    }
    assert value not in json.dumps(scrubbed(event, "test"))
    stream = StringIO()
    get_logger("test")
    shown = redact({"message": f"failed with {value}", "body": {key: [value]}, "text": texts[0]})
    stream.write(json.dumps(shown))
    assert value not in stream.getvalue()


PASSWORD = st.text(string.ascii_letters + "/@ ", min_size=8, max_size=20).filter(
    lambda text: (
        text == text.strip() and "  " not in text and text.count(" ") <= 2 and text[0] != "/"
    )
)


@settings(max_examples=300, deadline=None)
@given(PASSWORD, st.sampled_from(["postgresql", "postgres", "redis", "rediss", "amqp", "smtp"]))
def test_password_of_a_service_url_is_hidden_whatever_it_holds(password: str, scheme: str) -> None:
    shown = redact_text(f"cannot reach {scheme}://cook:{password}@db.internal:5432/cookcam now")
    assert shown == f"cannot reach {scheme}://{R}@db.internal:5432/cookcam now"


@pytest.mark.parametrize("mark", ["/", " ", "@", "@/", " /"])
@pytest.mark.parametrize("scheme", ["https", "http", "ftp"])
def test_password_of_any_url_is_hidden(mark: str, scheme: str) -> None:
    shown = redact_text(f"{scheme}://cook:hunter{mark}two@host.example/x")
    assert "hunter" not in shown
    assert "two" not in shown
    assert "host.example/x" in shown


@pytest.mark.parametrize(
    "text",
    [
        "https://host.example:8080/a/b?c=d",
        "https://medium.example/@ann/a-post",
        "redis://cache:6379/0 failed after 3 attempts",
        "see https://docs.example: it says why",
        "postgresql://db.internal:5432/cookcam, then redis://cache:6379",
        "wss://host.example:443/socket.io/?EIO=4",
    ],
)
def test_urls_without_a_password_stay(text: str) -> None:
    assert redact_text(text) == text


CARDS = [
    *("4242424242424242", "5555555555554444", "2223003122003222", "378282246310005"),
    *("6011111111111117", "3566002020360505", "30569309025904", "6200000000000005"),
]


@pytest.mark.parametrize("card", CARDS)
def test_card_number_is_hidden_in_text_in_groups_and_as_a_number(card: str) -> None:
    groups = [card[i : i + 4] for i in range(0, len(card), 4)]
    for written in (card, " ".join(groups), "-".join(groups)):
        assert redact_text(f"paid with {written}, thanks") == f"paid with {R}, thanks"
    assert redact({"note": int(card)}) == {"note": R}


@given(st.integers(10**11, 10**19))
def test_other_long_numbers_stay(number: int) -> None:
    text = f"order {number} done"
    if not is_card_number(str(number)):
        assert redact_text(text) == text
        assert redact({"n": number}) == {"n": number}


@pytest.mark.parametrize(
    "text", ["at 1767225600000 ms", "transaction 2000000000000001", "4242-4242"]
)
def test_times_and_transactions_of_the_stores_stay(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("iban DE89 3704 0044 0532 0130 00 given", f"iban {R} given"),
        ("GB82WEST12345698765432", R),
        ("number 123-45-6789.", f"number {R}."),
        ("AKIAIOSFODNN7EXAMPLE used", f"{R} used"),
        ("token ghp_" + "a" * 36, f"token {R}"),
        ("ek_live_abc123", R),
        (
            'invalid input syntax for type uuid: "my soup"',
            f'invalid input syntax for type uuid: "{R}"',
        ),
        ("the tests pass: all of them", "the tests pass: all of them"),
        ("smtp pass=hunter2", f"smtp pass={R}"),
    ],
)
def test_shapes_of_numbers_and_keys(text: str, shown: str) -> None:
    assert redact_text(text) == shown
