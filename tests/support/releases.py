"""Release folders as a deployment leaves them, and the link that names the current one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

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
        values = {**settings, "GIT_COMMIT_SHA": name}
        (release / ".env").write_text("".join(f"{n}='{v}'\n" for n, v in values.items()))

    def switch_to(self, name: str) -> None:
        """Points the link at another release, in one step."""
        following = self.folder / "following"
        following.symlink_to(name)
        following.replace(self.current)
