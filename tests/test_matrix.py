"""The test matrix names tests that exist, and every row once."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import pytest

from tests.matrix import ROOT, ROWS, Recorder, Result, Row, as_page, belongs, results, results_on

TESTS = ROOT / "tests"


def exists(test: str) -> bool:
    """Whether a file, a class or a test is there, as pytest names it."""
    file, *names = test.split("::")
    if not (TESTS / file).is_file():
        return False
    body = ast.parse((TESTS / file).read_text()).body
    for name in names:
        found = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name == name
        ]
        if not found:
            return False
        body = found[0].body
    return True


def test_every_row_is_there_once() -> None:
    assert [row.number for row in ROWS] == list(range(1, 85))
    assert [row.number for row in ROWS if not row.tests and not row.note] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_tests_of_a_row_exist(row: Row) -> None:
    assert [test for test in row.tests if not exists(test)] == []


def test_row_is_as_bad_as_its_worst_test() -> None:
    recorder = Recorder()
    recorder.outcomes |= {
        "a.py::test_one": "passed",
        "a.py::test_two[x]": "failed",
        "b.py::TestB::test_three": "skipped",
    }
    rows = [
        Row(1, "passed", ["a.py::test_one"]),
        Row(2, "failed", ["a.py"]),
        Row(3, "skipped", ["b.py::TestB", "a.py::test_one"]),
        Row(4, "absent", ["c.py"]),
        Row(5, "a command", note="make it"),
    ]
    states = [result.state for result in results(rows, recorder)]
    assert states == ["passed", "failed", "skipped", "failed", "by command"]
    assert not belongs("a.py::test_one_more", "a.py::test_one")


def test_group_of_xdist_is_no_part_of_the_name() -> None:
    recorder = Recorder()
    for name in ("test_one@deploy", "test_two[a@b]@deploy", "test_three[a@b]"):
        report = SimpleNamespace(
            nodeid=f"tests/a.py::{name}",
            duration=0.1,
            failed=False,
            skipped=False,
            when="call",
            outcome="passed",
        )
        recorder.pytest_runtest_logreport(report)
    assert list(recorder.outcomes) == [
        "a.py::test_one",
        "a.py::test_two[a@b]",
        "a.py::test_three[a@b]",
    ]


def test_row_that_is_not_run_keeps_its_result() -> None:
    first, second, *_ = ROWS
    page = as_page([Result(first, "failed", "1 failed; 0.1 s")])
    page = as_page([Result(second, "passed", "2 passed; 0.1 s")], page)
    assert (results_on(page)[1], results_on(page)[2]) == (
        "failed: 1 failed; 0.1 s",
        "passed: 2 passed; 0.1 s",
    )
    assert results_on(page)[3] == "not run"


def test_page_has_the_rows() -> None:
    page = (ROOT / "docs" / "matrix.md").read_text()
    for row in ROWS:
        assert f"\n| {row.number} | {row.check} |" in page, f"run: make matrix ({row.number})"
