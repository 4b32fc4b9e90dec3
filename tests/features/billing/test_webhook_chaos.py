"""Shuffled, repeated webhooks and kill -9. The long run: `python -m tests.chaos.webhooks`."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.webhooks import chaos


async def test_nothing_is_lost_and_nothing_done_twice(fresh_database_url: str, tmp_path: Path):
    outcome = await chaos(fresh_database_url, tmp_path, events=150, kills=3, seed=20_250_601)
    assert outcome.wrong == []
    assert outcome.kills == 3
    assert outcome.events >= 150
    assert outcome.responses["200"] >= outcome.events
