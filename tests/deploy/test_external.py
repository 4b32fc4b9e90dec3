"""A missing program skips its tests on a laptop and fails them where all programs are due."""

from __future__ import annotations

import pytest

from tests.support.external import node_module, require_program


def test_a_missing_program_skips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COOKCAM_REQUIRE_EXTERNAL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        require_program("no-such-program")


def test_a_missing_program_fails_where_all_are_required(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COOKCAM_REQUIRE_EXTERNAL", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        require_program("no-such-program")
    with pytest.raises(pytest.fail.Exception, match="no-such-module"):
        node_module("no-such-module")
