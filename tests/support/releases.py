"""Release folders as a deployment leaves them, and the link that names the current one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from dotenv import dotenv_values

from tests.support.commands import ROOT


@frozen
class Releases:
    """Folders whose programs are this checkout's; each has a `.env` of its own."""

    folder: Path

    @property
    def current(self) -> Path:
        return self.folder / "current"

    def add(self, name: str, settings: Mapping[str, str]) -> None:
        """A release that calls itself `name` (GIT_COMMIT_SHA)."""
        release = self.folder / name
        release.mkdir()
        for part in ("cookcam", "deploy", ".venv"):
            (release / part).symlink_to(ROOT / part)
        self.configure(name, settings)

    def settings(self, name: str) -> dict[str, str]:
        """The `.env` of a release."""
        values = dotenv_values(self.folder / name / ".env", interpolate=False)
        return {key: value or "" for key, value in values.items()}

    def configure(self, name: str, settings: Mapping[str, str]) -> None:
        """Writes the `.env` of a release."""
        values = {**settings, "GIT_COMMIT_SHA": name}
        text = "".join(f"{n}='{v}'\n" for n, v in values.items())
        (self.folder / name / ".env").write_text(text)

    def switch_to(self, name: str) -> None:
        """Points the link at another release, in one step."""
        following = self.folder / "following"
        following.symlink_to(name)
        following.replace(self.current)
