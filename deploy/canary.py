#!/usr/bin/env python3
"""Sends a growing share of nginx's traffic to an instance of a new release, until it makes errors.

    python deploy/canary.py 127.0.0.1:3002 --upstream /etc/nginx/cookcam/host/upstream.conf \
        --log /var/log/nginx/cookcam.log

The instance at the address is running and ready. For each share the script adds it to the upstream
with a weight, reloads nginx, and counts the answers in nginx's log for a while. It compares the
share of 5xx answers of the canary with the limit and with that of the other instances.

Exit status 0: the canary passed all shares. 1: it made too many errors. 2: it got too few requests
to tell. 3: nginx rejected the configuration, or the script was interrupted. In every case the
upstream is as it was before: deploy/reload.js deploys a release that has passed to all instances.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

POLL_SECONDS = 0.5
PATIENCE = 5
"""A share with too few requests to tell lasts up to this many times its time."""

NOISE = 2.0
"""The canary may have this many times the errors of the other instances."""

PASSED, FAILED, UNDECIDED, INTERRUPTED = 0, 1, 2, 3


@dataclass
class Answers:
    """Answers of instances: all, and those with a 5xx."""

    total: int = 0
    errors: int = 0

    @property
    def error_share(self) -> float:
        return self.errors / self.total if self.total else 0.0


@dataclass
class Log:
    """Reads the lines that nginx appends to its access log."""

    path: Path
    position: int = field(init=False)

    def __post_init__(self) -> None:
        self.position = self.path.stat().st_size

    def answers(self, canary: str) -> tuple[Answers, Answers]:
        """The new answers of the canary, and of all other instances."""
        ours, others = Answers(), Answers()
        for address, status in self._attempts():
            counted = ours if address == canary else others
            counted.total += 1
            counted.errors += status >= 500
        return ours, others

    def _attempts(self) -> Iterator[tuple[str, int]]:
        if self.path.stat().st_size < self.position:  # rotated
            self.position = 0
        with self.path.open("rb") as log:
            log.seek(self.position)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self.position += len(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                # Lists: nginx asks the next instance after a failed connection.
                addresses = re.split(r", | : ", str(entry.get("upstream", "")))
                statuses = re.split(r", | : ", str(entry.get("upstream_status", "")))
                for address, status in zip(addresses, statuses, strict=False):
                    if status.isdigit():
                        yield address, int(status)


def weighted(upstream: str, canary: str, percent: int) -> str:
    """The upstream's text with the canary at `percent` of the traffic."""
    each, servers = re.subn(
        r"(?m)((?:^|;)[ \t]*server\s+[^\s;]+)([^;]*)(?=;)",
        lambda match: f"{match[1]} weight={100 - percent}{match[2]}",
        upstream,
    )
    if not servers or "weight=" in upstream:
        raise ValueError("the upstream has no servers, or servers with weights")
    return f"{each.rstrip()}\nserver {canary} weight={percent * servers} max_fails=0;\n"


def replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.canary")
    temporary.write_text(text)
    temporary.replace(path)


def watch(options: argparse.Namespace, log: Log) -> int:
    """Count answers for the time of one share. Returns PASSED, FAILED or UNDECIDED."""
    ours, others = Answers(), Answers()
    start, enough = time.monotonic(), False
    while time.monotonic() < start + options.seconds * (1 if enough else PATIENCE):
        time.sleep(POLL_SECONDS)
        for total, new in zip((ours, others), log.answers(options.canary), strict=True):
            total.total += new.total
            total.errors += new.errors
        allowed = max(options.max_errors / 100, NOISE * others.error_share)
        enough = ours.total >= options.min_requests
        if enough and ours.error_share > allowed:
            break
    print(
        f"  canary: {ours.errors} of {ours.total} answers are 5xx ({100 * ours.error_share:.1f} %);"
        f" others: {others.errors} of {others.total} ({100 * others.error_share:.1f} %)",
        flush=True,
    )
    if not enough:
        return UNDECIDED
    return FAILED if ours.error_share > allowed else PASSED


def run(options: argparse.Namespace) -> int:
    original = options.upstream.read_text()
    test, reload = shlex.split(options.test), shlex.split(options.reload)

    def apply(text: str) -> None:
        replace(options.upstream, text)
        subprocess.run(test, check=True, capture_output=True)
        subprocess.run(reload, check=True, capture_output=True)

    result = INTERRUPTED
    try:
        for percent in options.shares:
            print(f"{percent} % to {options.canary}", flush=True)
            log = Log(options.log)
            apply(weighted(original, options.canary, percent))
            result = watch(options, log)
            if result != PASSED:
                break
    except subprocess.CalledProcessError as error:
        print(f"nginx: {error.stderr.decode(errors='replace').strip()}", file=sys.stderr)
        result = INTERRUPTED
    except KeyboardInterrupt:
        result = INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        apply(original)
    print(
        {
            PASSED: "the canary passed; the upstream is as before",
            FAILED: "rolled back: too many errors",
            UNDECIDED: f"rolled back: fewer than {options.min_requests} answers",
            INTERRUPTED: "rolled back: interrupted",
        }[result]
    )
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("canary", help="address and port of the new release's instance")
    parser.add_argument("--upstream", type=Path, required=True, help="cookcam/host/upstream.conf")
    parser.add_argument("--log", type=Path, required=True, help="nginx's access log")
    parser.add_argument(
        "--shares",
        type=lambda text: [int(item) for item in text.split(",")],
        default=[5, 25, 50],
        help="per cent of the traffic, one after the other; default 5,25,50",
    )
    parser.add_argument(
        "--seconds", type=float, default=300, help="for each share; at most 5 times as long"
    )
    parser.add_argument("--max-errors", type=float, default=1.0, help="per cent of 5xx answers")
    parser.add_argument("--min-requests", type=int, default=200, help="to decide, for each share")
    parser.add_argument("--test", default="nginx -t", help="the command that checks nginx's files")
    parser.add_argument("--reload", default="nginx -s reload")
    options = parser.parse_args()
    if not all(0 < share < 100 for share in options.shares):
        parser.error("a share is from 1 to 99")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
