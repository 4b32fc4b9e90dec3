"""The report of `cookcam check-env`: what is set, what is missing, what is wrong; never a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from attrs import asdict, frozen

from cookcam.config import ConfigError, Mistake, described, load, without_effect

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

    def text(self) -> str:
        """A line per setting, then a line per mistake, then names that nothing reads."""
        lines = [f"{found.state:<8} {found.variable:<30} {found.about}" for found in self.findings]
        if self.mistakes:
            lines += ["", *(str(mistake) for mistake in self.mistakes)]
        if self.without_effect:
            lines += ["", f"without effect: {', '.join(self.without_effect)}"]
        return "\n".join(lines)

    def json(self) -> str:
        return json.dumps({"ok": not self.mistakes, **asdict(self)}, indent=2)


def check(environ: Mapping[str, str]) -> Report:
    """What `load` makes of `environ`, setting by setting."""
    mistakes: list[Mistake] = []
    try:
        load(environ)
    except ConfigError as error:
        mistakes = error.mistakes
    wrong = {mistake.variable for mistake in mistakes}
    given = {name for name, value in environ.items() if value.strip()}
    findings: list[Finding] = []
    for setting in described():
        is_set = not given.isdisjoint({setting.name, *setting.aliases})
        if setting.name in wrong:
            state: State = "invalid" if is_set else "missing"
        else:
            state = "set" if is_set else "not set"
        findings.append(Finding(setting.name, state, setting.about))
    return Report(findings, mistakes, without_effect(environ))
