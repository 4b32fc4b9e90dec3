"""Where lines go: real pipes, with readers that read, stall, and leave."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cookcam.observability.log_writers import DescriptorLogWriter


def lost(count: int) -> bytes:
    return f"lost {count}\n".encode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds little: (reading end, writing end)."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2 * 4096)
    os.set_blocking(reading, False)
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):  # the test has closed it
            os.close(descriptor)


def read_all(reading: int) -> bytes:
    data = b""
    try:
        while chunk := os.read(reading, 65536):
            data += chunk
    except BlockingIOError:
        return data
    return data


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    log_writer = DescriptorLogWriter(pipe[1], lost)
    for number in range(20):
        log_writer.write(f"line {number}\n".encode())
    assert read_all(pipe[0]).decode() == "".join(f"line {n}\n" for n in range(20))


def test_a_stalled_reader_delays_lines_and_loses_none(pipe: tuple[int, int]) -> None:
    log_writer = DescriptorLogWriter(pipe[1], lost)
    lines = [f"{number:05d} {'x' * 90}\n".encode() for number in range(500)]
    for line in lines:
        log_writer.write(line)  # far more than the pipe holds, and it returns
    received = b""
    while len(received) < sum(map(len, lines)):
        received += read_all(pipe[0])
        log_writer.flush(0)
    assert received == b"".join(lines)


def test_a_line_longer_than_the_pipe_is_not_torn_by_the_next(pipe: tuple[int, int]) -> None:
    log_writer = DescriptorLogWriter(pipe[1], lost)
    log_writer.write(b"a" * 10_000 + b"\n")
    received = read_all(pipe[0])
    log_writer.write(b"b\n")
    for _ in range(10):
        received += read_all(pipe[0])
        log_writer.flush(0)
    assert received == b"a" * 10_000 + b"\nb\n"


def test_beyond_the_bound_whole_lines_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    log_writer = DescriptorLogWriter(pipe[1], lost, capacity=8192)
    for number in range(400):
        log_writer.write(f"{number:04d}{'x' * 95}\n".encode())
    received = b""
    for _ in range(10):
        received += read_all(pipe[0])
        log_writer.flush(0)
    lines = received.decode().splitlines()
    assert lines[-1] == f"lost {400 - (len(lines) - 1)}"
    assert all(len(line) == 99 for line in lines[:-1])
    log_writer.write(b"back\n")
    assert read_all(pipe[0]) == b"back\n"


def test_flush_has_a_time_limit_without_a_reader(pipe: tuple[int, int]) -> None:
    log_writer = DescriptorLogWriter(pipe[1], lost)
    log_writer.write(b"x" * 20_000 + b"\n")
    log_writer.flush(0.05)


def test_a_reader_that_left_swallows_lines(pipe: tuple[int, int]) -> None:
    log_writer = DescriptorLogWriter(pipe[1], lost)
    os.close(pipe[0])
    log_writer.write(b"x\n")
    log_writer.write(b"y\n")


def test_line_logged_during_a_write_is_written_after_it(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a finaliser does, which may run between any two steps of the same thread."""
    log_writer = DescriptorLogWriter(pipe[1], lost)
    write = os.write
    finaliser = iter([b"from a finaliser\n"])

    def write_and_collect_garbage(descriptor: int, data: bytes) -> int:
        written = write(descriptor, data)
        for line in finaliser:
            log_writer.write(line)
        return written

    monkeypatch.setattr(os, "write", write_and_collect_garbage)
    log_writer.write(b"first\n")
    log_writer.flush(0)
    assert read_all(pipe[0]) == b"first\nfrom a finaliser\n"


PROGRAM = textwrap.dedent(
    """
    import os, sys
    from cookcam.observability.logging import configure_logging, get_logger
    if "closed" in sys.argv:
        os.close(1)
        os.close(2)
    configure_logging("production", "info")
    log = get_logger("program")
    log.info("to out")
    log.warning("to err")
    log.error("to err")
    if "crash" in sys.argv:
        import threading
        def fail():
            raise ValueError("in thread: Bearer abc")
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        raise ValueError("in main: Bearer abc")
    """
)


def test_warnings_and_errors_go_to_standard_error_and_the_rest_to_standard_output() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert done.stdout.count(b"to out") == 1
    assert done.stderr.count(b"to err") == 2
    assert b"to err" not in done.stdout


def test_a_program_that_closes_its_standard_streams_runs() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "closed"], capture_output=True)
    assert done.returncode == 0


def test_a_program_started_without_standard_streams_writes_to_nothing_else(tmp_path: Path) -> None:
    program = "first = open(__import__('sys').argv[1], 'w')\nassert first.fileno() < 3\n" + PROGRAM
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" "$2" >&- 2>&-', sys.executable, program, tmp_path / "file"]
    )
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_an_uncaught_exception_is_a_redacted_line_and_still_fails_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "crash"], capture_output=True)
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert [r["error"] for r in records if "error" in r] == [
        "in thread: Bearer [REDACTED]",
        "in main: Bearer [REDACTED]",
    ]


def test_lines_kept_back_are_written_at_the_end_of_the_process() -> None:
    program = (
        "import os\n"
        "from cookcam.observability.logging import configure_logging, get_logger\n"
        "configure_logging('production', 'info')\n"
        "for n in range(2000): get_logger('x').info('line', n=n)\n"
        "os.write(2, b'done')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.read(4) == b"done"  # more is written than the pipe holds
        assert process.stdout.read().count(b"line") == 2000
