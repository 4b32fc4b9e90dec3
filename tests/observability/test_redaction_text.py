"""Redaction of strings: the notations and shapes of secrets, and what must stay readable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.observability.redaction import redact_text

R = "[REDACTED]"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def", f"Authorization: {R}"),
        ("sent Bearer abc.def to them", f"sent Bearer {R} to them"),
        ("Basic dXNlcjpwYXNz was sent", f"Basic {R} was sent"),
        ("got eyJhbGciOiJIUzI1NiJ9.e30.abc here", f"got {R} here"),
        ("key sk_live_abc123, rk_test_9", f"key {R}, {R}"),
        ("whsec_abc and sk-proj-abcdefgh", f"{R} and {R}"),
        ("pi_3_secret_abc", f"pi_3_secret_{R}"),
        ("sb_secret_abc sbp_123", f"{R} {R}"),
        ("no user ann.smith+x@mail.example.org.", f"no user {R}."),
        ("user=ann%40example.org&x=1", f"user={R}&x=1"),
        ("postgresql://cook:p%40ss@db:5432/x failed", f"postgresql://{R}@db:5432/x failed"),
        ("https://key@o1.ingest.sentry.io/2", f"https://{R}@o1.ingest.sentry.io/2"),
        ("GET /cb?code=abc&token=def&page=2", f"GET /cb?code={R}&token={R}&page=2"),
        ("email=a&password=it+is&n=1", f"email={R}&password={R}&n=1"),
        ('{"password": "it\'s", "n": 1}', f'{{"password": "{R}", "n": 1}}'),
        (r"{\"token\": \"a\\\"b\", \"n\": 1}", rf"{{\"token\": \"{R}\", \"n\": 1}}"),
        ("{'tokens': {'a': ['b', {}]}, 'n': 1}", f"{{'tokens': {R}, 'n': 1}}"),
        ("Login(name='x', password='y')", f"Login(name='{R}', password='{R}')"),
        ("[(b'cookie', b'a=b; c=d'), (b'a', b'b')]", f"[(b'cookie', b'{R}'), (b'a', b'b')]"),
        ("Cookie: a=b; c=d\r\nHost: x", f"Cookie: {R}\r\nHost: x"),
        (r"b'GET /\r\nCookie: a=b; c=d\r\nHost: x'", rf"b'GET /\r\nCookie: {R}\r\nHost: x'"),
        ("retry with token=Secret('a b') now", f"retry with token={R} now"),
        ("data:image/jpeg;base64,/9j/4AAQ==", f"data:image/jpeg;base64,{R}"),
        ("ExponentPushToken[abc]", f"ExponentPushToken[{R}]"),
        ("Key (email)=(ann) already exists.", f"Key (email)=({R})"),
        ("DETAIL:  Failing row contains (1, Ann Smith).", f"DETAIL:  Failing row contains ({R})"),
        ("x\n-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\ny", f"x\n{R}\ny"),
    ],
)
def test_secrets_go_and_the_words_around_them_stay(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "API Request",
        "/api/v1/recipes/<recipe_id>?page=2&sort=title",
        "2026-01-02T03:04:05.678Z",
        "5f0c2d8e-3f9b-4f0e-8d57-0a4bb20ad0a5",
        "http://127.0.0.1:3000/health",
        "hasJwtSecret=True passwordLength=12 token=None",
        "Bearer token missing",
        "Basic information about the task-management and risk-averse",
        "token == expected",
        "the password must have 12 characters",
        "https://project.supabase.co/auth/v1/token?grant_type=password",
        "column recipes.title, line 3: expected a number",
        "SELECT token_hash FROM keys WHERE id = $1",
    ],
)
def test_ordinary_text_is_returned_as_it_is(text: str) -> None:
    assert redact_text(text) == text


def test_a_text_without_anything_suspect_is_the_same_object() -> None:
    text = "recipe created for the user"
    assert redact_text(text) is text


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert redact_text("ab" * 10, limit=5) == "ababa... (20 characters)"


def test_what_stood_under_a_secret_name_can_be_collected() -> None:
    found: set[str] = set()
    redact_text("password=hunter2&token='abc def'", secrets=found)
    assert found == {"hunter2", "abc def"}


def test_a_word_of_a_sentence_or_of_code_is_not_collected() -> None:
    found: set[str] = set()
    redact_text("Invalid token: signature expired", secrets=found)
    redact_text("  File x\n    connect(token=the_token)\n", secrets=found)
    assert not found


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab:='\"\\[](){}@,& \n", max_size=200))
def test_any_text_may_be_redacted_and_again(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once
