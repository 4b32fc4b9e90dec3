"""The text of `.env.example`: every variable, one line each, from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator

from cookcam.config import described
from cookcam.config.sections import DEPLOYED, EVERYWHERE

_HEADER = """\
# Every setting of the server. Copy this file to .env, or name a copy with --env-file.
# The environment wins over a file, and an empty value means unset.
# `cookcam check-env` says what is missing; docs/configuration.md has the rules.
"""

_REQUIRED = {
    EVERYWHERE: "REQUIRED",
    DEPLOYED: "required in staging and production",
    (): "optional",
}


def env_example() -> str:
    """Lines `NAME=default  # about`; copied as it is, it changes nothing."""
    return _HEADER + "\n" + "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield _line(
        "APP_ENV",
        "",  # a copy must not make a development server of a deployment that says NODE_ENV
        "optional: development (the default), test, staging or production; also NODE_ENV",
    )
    for setting in described():
        about = f"{_REQUIRED[setting.required]}: {setting.about}"
        if setting.aliases:
            about += f"; also {', '.join(setting.aliases)}"
        # A copy must not freeze the version either.
        default = "" if setting.name == "APP_VERSION" else setting.default
        yield _line(setting.name, default, about)
        if setting.name == "GOOGLE_SERVICE_ACCOUNT_KEY":
            yield _line(f"{setting.name}_FILE", "", f"optional: a file that holds {setting.name}")


def _line(name: str, default: str, about: str) -> str:
    # Quotes keep an empty value apart from the comment that follows it.
    value = default or '""'
    return f"{name}={value}  # {about}"
