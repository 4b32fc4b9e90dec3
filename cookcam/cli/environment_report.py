"""The report of `cookcam check-env`: set, missing and invalid settings, without their values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from attrs import asdict, frozen

from cookcam.config import ConfigError, Mistake, described, load, without_effect

if TYPE_CHECKING:
    from cookcam.cli.connection_checks import Connection

GOOGLE_KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
GOOGLE_KEY_FILE = "GOOGLE_SERVICE_ACCOUNT_KEY_FILE"
"""Names the file of GOOGLE_KEY, and is not a setting of its own."""

State = Literal["set", "missing", "invalid", "not set"]


@frozen
class Finding:
    """One setting: `missing` and `invalid` are mistakes, `not set` has a default or is optional."""

    variable: str
    state: State
    about: str


@frozen
class Report:
    findings: list[Finding]
    mistakes: list[Mistake]
    without_effect: list[str]
    connections: list[Connection] | None = None

    @property
    def good(self) -> bool:
        """True without mistakes and failed checks."""
        failed = [tried for tried in self.connections or () if tried.state == "failed"]
        return not self.mistakes and not failed

    def text(self) -> str:
        """A line for each setting, mistake, unused variable and checked service."""
        lines = [f"{found.state:<8} {found.variable:<30} {found.about}" for found in self.findings]
        if self.mistakes:
            lines += ["", *(str(mistake) for mistake in self.mistakes)]
        if self.without_effect:
            lines += ["", f"without effect: {', '.join(self.without_effect)}"]
        if self.connections is not None:
            lines += ["", *(str(tried) for tried in self.connections)]
        return "\n".join(lines)

    def json(self) -> str:
        content = asdict(self)
        if self.connections is None:
            del content["connections"]
        return json.dumps({"ok": self.good, **content}, indent=2)


def check(environ: Mapping[str, str]) -> Report:
    """Check each setting of `environ` as `load` does."""
    mistakes: list[Mistake] = []
    try:
        load(environ)
    except ConfigError as error:
        mistakes = error.mistakes
    wrong = {mistake.variable for mistake in mistakes}
    given = {name for name, value in environ.items() if value.strip()}
    for names in (given, wrong):
        if GOOGLE_KEY_FILE in names:
            names.add(GOOGLE_KEY)
    findings: list[Finding] = []
    for setting in described():
        is_set = not given.isdisjoint({setting.name, *setting.aliases})
        if setting.name in wrong:
            state: State = "invalid" if is_set else "missing"
        else:
            state = "set" if is_set else "not set"
        findings.append(Finding(setting.name, state, setting.about))
    return Report(findings, mistakes, without_effect(environ))
