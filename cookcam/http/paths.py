"""How paths are compared: ignoring case and one trailing slash."""

from __future__ import annotations

CANONICAL = "/api/v1"
LEGACY = "/api"
ROOT = ""


def canonical(path: str) -> str:
    """The form in which paths are compared. Path parameters keep the client's spelling."""
    lowered = path.lower()
    return lowered[:-1] if lowered.endswith("/") and len(lowered) > 1 else lowered
