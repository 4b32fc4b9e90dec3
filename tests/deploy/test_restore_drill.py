"""The restore drill holds, on a small database."""

from __future__ import annotations

from tests.drills.restore import perform


def test_dump_under_write_load_is_restored_and_proved() -> None:
    drill = perform(users=50, recipes=200)
    assert [name for name, holds in drill.proofs.items() if not holds] == []
    assert drill.figures["recipes written during the dump"] > 0
