"""Names and prose use the words of the field: a short list of words that were used instead.

`make lint` runs this module. A file or directory of UNCHECKED is checked once its line is deleted.
docs/glossary.md has the terms of the domain.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

IDENTIFIERS = {
    "told": "received, reported",
    "said": "declared, fields, options",
    "asked": "requested",
    "wishes": "prompt, preferences",
    "kitchen": "container, app_client, fake",
    "household": "fixture, users",
    "whoever": "the role's name: caller, user, client",
    "somebody": "the role's name: caller, user, client",
    "longest": "max_…",
    "shortest": "min_…",
    "patience": "timeout",
    "refused": "rejected",
    "refusal": "rejection",
}
"""Parts of a NAME token, in lower case → replacement."""

PROSE = {
    r"stand-ins?": "fake, stub server",
    r"\bwhoever\b": "the role: client, caller, user",
    r"\bsomebody\b": "the role: client, caller, user",
    r"\bwho asks\b": "the caller",
    r"\bis told\b": "gets, receives",
    r"\bour own kitchen\b": "the server",
    r"\bspec/[a-z-]+\.md": "the fact itself, or a page of docs/",
}
"""Pattern in a comment, a docstring or a page → replacement."""

CONTRACT = frozenset(
    {
        "http_requests_refused_total",
        "connections_refused_total",
        "kitchen_appliances",
        "longest_streak",
        "SMTPRecipientsRefused",
        "ConnectionRefusedError",
    }
)
"""Names of metrics, of fields of the API and of libraries, which stay as they are."""
TERMS = frozenset(
    {
        ("cookcam/http/admission.py", "refused"),  # a log field
        # OpenAI's field for a completion that the model declines to write.
        ("cookcam/integrations/openai/completions.py", "refusal"),
        ("cookcam/sandbox/openai/answers.py", "refusal"),
        ("cookcam/sandbox/openai/wire.py", "refusal"),
    }
)
"""Names of log fields and of a provider's API, which stay as they are, by file."""

UNCHECKED = (
    "tests/config/test_production.py",
    "tests/contract/test_openapi.py",
    "tests/features/messaging/test_inbox.py",
    "tests/features/messaging/test_notifications.py",
    "tests/features/recipes/test_photos.py",
    "tests/features/recipes/test_ratings.py",
    "tests/features/recipes/test_reviews.py",
    "tests/features/recipes/test_saving.py",
    "tests/features/rewards/test_leaderboard_ranks.py",
    "tests/features/rewards/test_leaderboards.py",
    "tests/features/rewards/test_mystery_boxes.py",
    "tests/features/rewards/test_progress.py",
    "tests/features/social/test_cooking.py",
    "tests/features/social/test_live_text.py",
    "tests/features/social/test_safety.py",
    "tests/features/social/test_users.py",
    "tests/support/social.py",
    "tests/test_config.py",
    "tests/test_vocabulary.py",
)
"""Not cleaned yet. Delete a line to check its files."""

Finding = tuple[int, str, str]


def checked_files() -> list[Path]:
    paths = [*ROOT.glob("cookcam/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("docs/**/*.md")]
    names = [path.relative_to(ROOT).as_posix() for path in [*paths, ROOT / "README.md"]]
    return [ROOT / name for name in sorted(names) if not name.startswith(UNCHECKED)]


def findings_in_python(source: str) -> Iterator[Finding]:
    docstring_may_follow = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string not in CONTRACT:
            for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", token.string):
                if part.lower() in IDENTIFIERS:
                    yield token.start[0], token.string, IDENTIFIERS[part.lower()]
        elif token.type == tokenize.COMMENT or (
            token.type == tokenize.STRING and docstring_may_follow
        ):
            yield from findings_in_prose(token.string, token.start[0])
        docstring_may_follow = token.type in (
            tokenize.ENCODING,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.NEWLINE,
            tokenize.NL,
            tokenize.COMMENT,
        )


def findings_in_prose(text: str, first_line: int = 1) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), first_line):
        for pattern, replacement in PROSE.items():
            for match in re.finditer(pattern, line, re.IGNORECASE):
                yield number, match[0], replacement


def test_checked_files_use_the_words_of_the_field() -> None:
    problems: list[str] = []
    for path in checked_files():
        text = path.read_text()
        name = path.relative_to(ROOT).as_posix()
        findings = findings_in_python(text) if path.suffix == ".py" else findings_in_prose(text)
        problems += [
            f"{name}:{line}: {word!r}, write {replacement}"
            for line, word, replacement in findings
            if (name, word) not in TERMS
        ]
    assert problems == [], "\n" + "\n".join(problems)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("told = 1\n", "told"),
        ("def is_refused() -> None: ...\n", "is_refused"),
        ("class LongestLine: ...\n", "LongestLine"),
        ("x = 1  # by whoever calls\n", "whoever"),
        ('def f() -> None:\n    """Starts the stand-in."""\n', "stand-in"),
    ],
)
def test_a_listed_word_is_found(source: str, word: str) -> None:
    assert [found for _, found, _ in findings_in_python(source)] == [word]


def test_strings_that_clients_see_are_not_checked() -> None:
    assert list(findings_in_python('x = f("the key is refused")\n')) == []


def test_every_exemption_exists() -> None:
    assert [name for name in UNCHECKED if not (ROOT / name).exists()] == []
