"""What a start learns about the previous runs of its instance."""

from __future__ import annotations

import json
from pathlib import Path

from cookcam.app.reports import describe_run
from cookcam.lifecycle.run_record import RunRecord
from cookcam.lifecycle.shutdown import DrainReport
from cookcam.observability.metrics import Metrics

PORT = 3000
REPORT = DrainReport(
    "SIGTERM", {"request": 3}, {"socket": 2}, ("socket a", "socket b"), {"drain": 1.5}
)


def begin(folder: Path) -> RunRecord:
    return RunRecord.begin(str(folder / "state"), PORT)


def test_each_way_to_end_is_distinguished_and_counted(tmp_path: Path) -> None:
    assert begin(tmp_path).previous is None  # and it ends here: a start that failed
    record = begin(tmp_path)
    assert record.previous == "failed_start"
    record.serving()  # and is killed
    record = begin(tmp_path)
    assert record.previous == "crashed"
    record.serving()
    record.end(0, None)
    record = begin(tmp_path)
    assert record.previous == "clean"
    record.serving()
    record.end(1, REPORT)
    record = begin(tmp_path)
    assert record.previous == "cut"
    assert record.ended == {"clean": 1, "cut": 1, "crashed": 1, "failed_start": 1}

    metrics = Metrics()
    describe_run(metrics, record)
    lines = metrics.render().decode().splitlines()
    assert 'previous_run{outcome="cut"} 1.0' in lines
    assert 'previous_run{outcome="clean"} 0.0' in lines
    assert 'previous_runs_total{outcome="crashed"} 1.0' in lines
    assert 'drain_cut_total{kind="socket"} 2.0' in lines
    assert 'drain_seconds{phase="drain"} 1.5' in lines
    assert any(
        line.startswith("startup_seconds") and line != "startup_seconds 0.0" for line in lines
    )


def test_instances_of_other_ports_have_their_own_record(tmp_path: Path) -> None:
    begin(tmp_path).serving()
    assert RunRecord.begin(str(tmp_path / "state"), PORT + 1).previous is None


def test_a_damaged_record_or_a_folder_that_cannot_be_written_does_not_stop_the_start(
    tmp_path: Path,
) -> None:
    begin(tmp_path)
    ended = dict.fromkeys(("clean", "cut", "crashed", "failed_start"), 0)
    for damaged in ("", "{", "[]", {"state": "odd", "ended": ended, "report": None}):
        text = damaged if isinstance(damaged, str) else json.dumps(damaged)
        (tmp_path / "state" / f"run-{PORT}.json").write_text(text)
        assert begin(tmp_path).previous is None
    assert begin(tmp_path).previous == "failed_start"
    (tmp_path / "file").write_text("")
    record = RunRecord.begin(str(tmp_path / "file"), PORT)
    record.serving()
    record.end(0, None)


def test_without_a_folder_nothing_is_known(tmp_path: Path) -> None:
    metrics = Metrics()
    describe_run(metrics, RunRecord.begin(None, PORT))
    assert "previous_run{" not in metrics.render().decode()
