"""`.env.example`: complete, generated, and harmless when copied."""

from __future__ import annotations

from pathlib import Path

from dotenv import dotenv_values

from cookcam.config import described, load
from cookcam.config.env_example import env_example

FILE = Path(__file__).parents[1] / ".env.example"
REQUIRED = {
    "DATABASE_URL": "postgresql://app@db.example/cookcam",
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_ANON_KEY": "anon",
    "SUPABASE_SERVICE_ROLE_KEY": "service",
    "OPENAI_API_KEY": "sk-1",
}


def test_the_file_is_what_the_settings_say():
    assert FILE.read_text() == env_example(), "run: cookcam env-example > .env.example"


def test_every_variable_and_alias_has_its_place_on_one_line():
    lines = FILE.read_text().splitlines()
    for setting in described():
        matching = [line for line in lines if line.startswith(f"{setting.name}=")]
        assert len(matching) == 1
        assert setting.about in matching[0]
        assert all(alias in matching[0] for alias in setting.aliases)
    assert any(line.startswith("APP_ENV=") for line in lines)
    assert any(line.startswith("GOOGLE_SERVICE_ACCOUNT_KEY_FILE=") for line in lines)


def test_a_copy_with_the_required_values_filled_in_gives_the_defaults():
    copied = {name: value or "" for name, value in dotenv_values(FILE).items()}
    assert load({**copied, **REQUIRED}) == load(REQUIRED)
