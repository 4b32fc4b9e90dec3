"""What must not be in the repository: secrets in the text of its files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cookcam", "deploy", "docs", "requirements", "tests")
IGNORED = {"node_modules", "__pycache__"}
TEXT = {".py", ".md", ".sql", ".toml", ".yml", ".yaml", ".json", ".js", ".mjs", ".conf", ".html"}

SECRETS = {
    "a live key of Stripe": re.compile(r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
    "a secret of a Stripe webhook": re.compile(r"\bwhsec_[0-9A-Za-z]{24,}"),
    "a key of OpenAI": re.compile(r"\bsk-(proj-)?[0-9A-Za-z_-]{32,}"),
    "a key of Google": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a key of Amazon": re.compile(r"\bAKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\bgh[pousr]_[0-9A-Za-z]{36}\b"),
    "a private key": re.compile(r"-----BEGIN (?:EC |RSA )?PRIVATE KEY-----\\?n?[A-Za-z0-9+/]{40}"),
}
"""What a scanner looks for, without the fixed texts of tests, which are shorter."""


def text_files() -> list[Path]:
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT]
    for folder in FOLDERS:
        found += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.suffix in TEXT and not IGNORED & {*path.parts}
        ]
    return [*found, ROOT / ".env.example"]


def secrets_in(text: str) -> list[str]:
    return [name for name, pattern in SECRETS.items() if pattern.search(text)]


def test_no_file_has_a_secret() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): secrets_in(path.read_text(errors="replace"))
        for path in text_files()
    }
    assert {name: kinds for name, kinds in found.items() if kinds} == {}


@pytest.mark.parametrize(
    "text",
    ["sk_live_" + 24 * "a", "whsec_" + 32 * "b", "sk-proj-" + 40 * "c", "AKIA" + 16 * "D"],
    ids=["stripe", "webhook", "openai", "amazon"],
)
def test_secret_is_found(text: str) -> None:
    assert len(secrets_in(f'KEY = "{text}"')) == 1
