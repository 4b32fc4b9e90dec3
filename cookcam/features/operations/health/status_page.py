"""The public page `/status`: what works, in words of the app; it names no provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal

from cookcam.features.operations.health.models import DetailedHealthResponse
from cookcam.lifecycle.mode import ModeName

State = Literal["ok", "limited", "down"]

_COMPONENTS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "Accounts and recipes": (("database",), ()),
    "Sign-in": ((), ("supabase_auth",)),
    "Recipe generation and scans": ((), ("openai",)),
    "Photos": (("storage",), ("supabase_storage",)),
    "Ingredient search": ((), ("usda",)),
    "Payments and subscriptions": ((), ("stripe", "app_store", "google_play")),
    "Cooking together": (("bus",), ()),
    "Notifications": ((), ("fcm", "apns")),
}
"""The services and the circuit breakers that each component of the app depends on."""

_WORDS: Mapping[State, str] = {"ok": "works", "limited": "limited", "down": "does not work"}
_HEADLINES: Mapping[State, str] = {
    "ok": "Everything works",
    "limited": "Some things do not work at the moment",
    "down": "CookCam is not available at the moment",
}

_SWITCHED: Mapping[ModeName, tuple[State, str]] = {
    "maintenance": ("down", "CookCam is under maintenance and will be back soon"),
    "read_only": ("limited", "You can look at everything; nothing can be changed at the moment"),
}
"""State and headline while an operator has switched a mode on."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="60">
<title>CookCam status: {headline}</title>
<style>
:root {{ color-scheme: light dark; --ok: #15803d; --limited: #a16207; --down: #b91c1c; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ok: #4ade80; --limited: #facc15; --down: #f87171; }}
}}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; }}
body {{ padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }}
ul {{ list-style: none; padding: 0; }}
li {{ display: flex; justify-content: space-between; padding: .6rem 0; }}
li {{ border-top: 1px solid #8884; }}
.ok {{ color: var(--ok); }} .limited {{ color: var(--limited); }} .down {{ color: var(--down); }}
footer {{ margin-top: 2rem; opacity: .75; font-size: .875rem; }}
</style>
</head>
<body>
<main>
<h1 class="{state}">{headline}</h1>
<ul>
{rows}
</ul>
</main>
<footer>As of <time datetime="{time}">{time}</time>. The page reloads every minute.{note}</footer>
</body>
</html>
"""


def render_status(health: DetailedHealthResponse, *, draining: bool) -> bytes:
    """The page as HTML; a component without its service or configuration is left out."""
    states: dict[str, State] = {
        name: state
        for name, parts in _COMPONENTS.items()
        if (state := _state_of(health, *parts)) is not None
    }
    worst: State = "ok"
    if "limited" in states.values() or "down" in states.values():
        worst = "limited"
    if health.status == "unhealthy":
        worst = "down"
    state, headline = _SWITCHED.get(health.mode, (worst, _HEADLINES[worst]))
    rows = "\n".join(
        f'<li><span>{escape(name)}</span><strong class="{state}">{_WORDS[state]}</strong></li>'
        for name, state in states.items()
    )
    return _PAGE.format(
        headline=headline,
        state=state,
        rows=rows,
        time=escape(health.timestamp),
        note=" This server is being restarted." if draining else "",
    ).encode()


def _state_of(
    health: DetailedHealthResponse, services: Sequence[str], circuits: Sequence[str]
) -> State | None:
    found = [health.services[name].status for name in services if name in health.services]
    opened = [health.circuits[name] != "closed" for name in circuits if name in health.circuits]
    if not found and not opened:
        return None
    if "down" in found or (opened and all(opened)):
        return "down"
    return "limited" if "degraded" in found or any(opened) else "ok"
