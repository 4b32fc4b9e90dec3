"""The product against the same work in other frameworks, in one run on one machine.

    .venv/bin/python -m tests.benchmarks.twins [--folder FOLDER] [--only http sockets start]

Installs the twins into FOLDER (a temporary one unless given; kept for the next run), starts a
sandbox, the product and the twins in production mode, and loads them in turns, so that whatever
else the machine does weighs on all. The figures that count are the ratios of the medians of the
rounds. Needs wrk, node 20 and npm. docs/performance.md has results, and what each twin does.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from attrs import define, field, frozen

from cookcam.app.readiness import WARM_UP_DELAY
from tests.benchmarks.bench_broadcast import crowd, load, started
from tests.support.commands import clean_environment
from tests.support.ports import free_ports
from tests.support.sandbox_process import SandboxProcess, sandbox_process
from tests.support.socket_crowd import allow_descriptors

HERE = Path(__file__).parent
PRODUCT, FASTAPI, EXPRESS, QUART = "product", "FastAPI", "Express", "Quart-Trio"
ROUTES = {
    "/health": "/health",
    "profile": "/api/v1/users/profile",
    "recipes": "/api/v1/recipes?limit=20",
}
CONNECTIONS = 32
RECIPES = 40
START_TIMEOUT = 60.0
WARM_UP_SECONDS = 15.0
"""The import of the libraries that the product loads WARM_UP_DELAY after its start."""
IDLE_SOCKETS = 2000

# wrk measures from the first byte of a request, so its latency is without the delay. Random, or
# the connections would come in step.
HALF_LOAD = "function delay() return math.random(0, {}) end"

COPY_RECIPES = """
insert into public.recipes (
  title, description, cuisine, prep_time, cook_time, difficulty, servings, ingredients,
  instructions, tags, nutrition, created_by, is_published
)
select r.title || ' ' || n, r.description, r.cuisine, r.prep_time, r.cook_time, r.difficulty,
  r.servings, r.ingredients, r.instructions, r.tags, r.nutrition, r.created_by, true
from public.recipes r, generate_series(2, %s) n where r.is_published"""
COPY_INGREDIENTS = """
insert into public.recipe_ingredients
  (recipe_id, ingredient_id, quantity, unit, preparation, order_index)
select copy.id, ri.ingredient_id, ri.quantity, ri.unit, ri.preparation, ri.order_index
from public.recipes copy
join public.recipes r on copy.title like r.title || ' %%' and copy.id <> r.id
join public.recipe_ingredients ri on ri.recipe_id = r.id
where not exists (select from public.recipe_ingredients x where x.recipe_id = copy.id)"""


@frozen
class Installation:
    """Where the twins' libraries are."""

    python: Path
    express: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Installation:
        """Installs what is missing. Raises CalledProcessError."""
        venv, express = folder / "venv", folder / "express"
        if not (venv / "installed").exists():
            run(sys.executable, "-m", "venv", str(venv))
            run(str(venv / "bin/pip"), "install", "-q", "-r", str(HERE / "requirements.txt"))
            (venv / "installed").touch()
        express.mkdir(exist_ok=True)
        for file in (HERE / "express").iterdir():
            shutil.copy(file, express)
        for file in HERE.glob("*.sql"):
            shutil.copy(file, folder)
        if not (express / "node_modules").exists():
            run("npm", "ci", "--no-audit", "--no-fund", "--silent", cwd=express)
        return cls(venv / "bin/python", express)

    def commands(self) -> dict[str, list[str]]:
        module = "tests.benchmarks.twins"
        return {
            PRODUCT: [sys.executable, "-m", "cookcam", "serve"],
            FASTAPI: [str(self.python), "-m", f"{module}.fastapi_twin"],
            EXPRESS: ["node", str(self.express / "server.mjs")],
            QUART: [str(self.python), "-m", f"{module}.quart_twin"],
        }


def run(*command: str, cwd: Path | None = None) -> None:
    print("$", *command, file=sys.stderr, flush=True)
    subprocess.run(command, check=True, cwd=cwd)


@frozen
class RunningServer:
    url: str
    process: psutil.Process
    seconds_to_first_answer: float

    def cpu(self) -> float:
        """Seconds of CPU so far, of the process and its children."""
        times = [self.process, *self.process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in times)

    def memory(self) -> int:
        """Resident bytes."""
        return self.process.memory_info().rss


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[RunningServer]:
    """A server that has answered `/health`; ended after the block."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean_environment(**environment, PORT=str(port), NODE_ENV="production"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                with suppress(httpx.TransportError):
                    httpx.get(f"{url}/health").raise_for_status()
                    break
                if process.poll() is not None or time.perf_counter() > began + START_TIMEOUT:
                    raise SystemExit((Path(folder) / "log").read_text())
                time.sleep(0.002)
            yield RunningServer(url, psutil.Process(process.pid), time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(30)


@frozen
class Setting:
    """The sandbox with enough recipes, and what ties the servers to it."""

    sandbox: SandboxProcess
    token: str

    @classmethod
    def of(cls, sandbox: SandboxProcess) -> Setting:
        with psycopg.connect(sandbox.about["database_url"]) as connection:
            [(count,)] = connection.execute("select count(*) from public.recipes").fetchall()
            connection.execute(COPY_RECIPES, [-(-RECIPES // count)])
            connection.execute(COPY_INGREDIENTS)
        return cls(sandbox, sandbox.sign_in()["access_token"])

    def environment(self, name: str, *, reports: bool = False) -> dict[str, str]:
        """Without the limits of an address, which would end each run after some seconds, and
        without error reports, which no twin has; with `reports`, all of staging."""
        if name == PRODUCT:
            settings = self.sandbox.staging if reports else self.sandbox.settings
            return {**settings, "ENABLE_RATE_LIMITING": "false"}
        about = self.sandbox.about
        keys = httpx.get(f"{about['supabase_url']}/auth/v1/.well-known/jwks.json").text
        return {"TWIN_DATABASE": about["database_url"], "TWIN_JWKS": keys}

    def read(self, server: RunningServer, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.get(server.url + path, headers=headers).raise_for_status().json()


@frozen
class Load:
    """One run of wrk: requests a second and how many of them were rejected under overload, p99 in
    ms, CPU of the server in µs for each request."""

    rate: float
    rejected: float
    p99: float
    cpu: float


def wrk(
    server: RunningServer, path: str, token: str, seconds: float, *options: str, connections: int
) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency"]
    command += [*options, "-H", f"Authorization: Bearer {token}", server.url + path]
    before = server.cpu()
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = server.cpu() - before
    rejected = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if "Socket errors" in text or (rejected is not None and connections <= CONNECTIONS):
        raise SystemExit(text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if rate is None or count is None or p99 is None or count[1] == "0":
        raise SystemExit(text)
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99[2]]
    share = int(rejected[1]) / int(count[1]) if rejected is not None else 0.0
    return Load(
        float(rate[1]),
        float(rate[1]) * share,
        float(p99[1]) * unit,
        used / int(count[1]) * 1e6,
    )


def paced(rate: float, folder: Path) -> tuple[str, str]:
    """Options of wrk with which CONNECTIONS send about `rate` requests a second in all."""
    script = folder / "paced.lua"
    script.write_text(HALF_LOAD.format(round(2000 * CONNECTIONS / rate)))
    return "-s", str(script)


@define
class Figures:
    """Of one server and route."""

    full: list[Load] = field(factory=list[Load])
    half: list[Load] = field(factory=list[Load])

    def median(self, name: str, *, half: bool = False) -> float:
        loads = self.half if half else self.full
        return statistics.median(getattr(each, name) for each in loads)


def compare_http(
    installation: Installation, setting: Setting, folder: Path, rounds: int, seconds: float
) -> None:
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(command, setting.environment(name)))
            for name, command in installation.commands().items()
        }
        check_same_answers(servers, setting)
        time.sleep(WARM_UP_DELAY + WARM_UP_SECONDS)
        figures = {(route, name): Figures() for route in ROUTES for name in servers}
        for turn in range(rounds + 1):
            for (route, name), measured in figures.items():
                server, path = servers[name], ROUTES[route]
                if turn == 0:  # warms up
                    wrk(server, path, setting.token, seconds, connections=CONNECTIONS)
                    continue
                measured.full.append(
                    wrk(server, path, setting.token, seconds, connections=CONNECTIONS)
                )
                pace = paced(measured.full[-1].rate / 2, folder)
                measured.half.append(
                    wrk(server, path, setting.token, seconds, *pace, connections=CONNECTIONS)
                )
    print(f"\n{CONNECTIONS} connections, medians of {rounds} rounds of {seconds:g} s\n")
    print(
        "| route | server | requests/s | spread | CPU/request | p99 at half load | product ÷ it |"
    )
    print("|---|---|---|---|---|---|---|")
    for (route, name), measured in figures.items():
        rates = [each.rate for each in measured.full]
        ratio = figures[route, PRODUCT].median("rate") / measured.median("rate")
        print(
            f"| {route} | {name} | {measured.median('rate'):,.0f} "
            f"| {min(rates):,.0f} to {max(rates):,.0f} | {measured.median('cpu'):.0f} µs "
            f"| {measured.median('p99', half=True):.1f} ms | {ratio:.2f} |"
        )


def check_same_answers(servers: Mapping[str, RunningServer], setting: Setting) -> None:
    """Ends the run where a twin's JSON differs from the product's, other than in how a time or a
    number is written."""
    for path in (ROUTES["profile"], ROUTES["recipes"]):
        expected = comparable(setting.read(servers[PRODUCT], path))
        for name, server in servers.items():
            if comparable(setting.read(server, path)) != expected:
                raise SystemExit(f"{name} answers {path} differently")


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", value):
        return value[:19]
    return value


def compare_sockets(installation: Installation, rounds: int) -> None:
    benchmarks = HERE.parent
    commands = {
        PRODUCT: [sys.executable, "-m", "tests.benchmarks.bench_broadcast_server"],
        "Node": [
            "node",
            str(benchmarks / "bench_broadcast_server.mjs"),
            str(installation.express),
        ],
    }
    steady: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    burst: dict[str, list[float]] = {name: [] for name in commands}
    idle: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            with started(command) as server:
                port = server.hear()["port"]
                steady[name].append(load(server, port, 1000, 100, 20))
            with started(command) as server:
                port = server.hear()["port"]
                figures = load(server, port, 200, 50, 0)
                burst[name].append(figures["deliveries"] / figures["seconds"])
            with started(command) as server:
                port = server.hear()["port"]
                with crowd(server, port, 50):
                    pass
                before = server.ask(measure=True)["bytes"]
                with crowd(server, port, IDLE_SOCKETS):
                    after = server.ask(measure=True)["bytes"]
                idle[name].append((after - before) / IDLE_SOCKETS)
    print(f"\nSocket.IO, medians of {rounds} rounds\n")
    print(f"| measure | {' | '.join(commands)} |")
    print("|---|---|---|")
    rows = {
        "1,000 sockets, 20 broadcasts/s: p50, ms": [
            statistics.median(run["p50"] for run in steady[name]) for name in commands
        ],
        "the same: p99, ms": [
            statistics.median(run["p99"] for run in steady[name]) for name in commands
        ],
        "the same: ms of CPU for each broadcast": [
            statistics.median(run["cpu"] * 10 for run in steady[name]) for name in commands
        ],
        "50 broadcasts at once to 200 sockets, 1,000 deliveries/s": [
            statistics.median(burst[name]) / 1000 for name in commands
        ],
        "memory of an idle socket, kB": [statistics.median(idle[name]) / 1000 for name in commands],
    }
    for title, values in rows.items():
        print(f"| {title} | {' | '.join(f'{value:.1f}' for value in values)} |")


def compare_starts(installation: Installation, setting: Setting, rounds: int) -> None:
    commands = installation.commands()
    commands = {
        PRODUCT: commands[PRODUCT],
        f"{EXPRESS} with dependencies": [*commands[EXPRESS], "--dependencies"],
        f"{EXPRESS} alone": commands[EXPRESS],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            with serving(command, setting.environment(name, reports=True)) as server:
                seconds[name].append(server.seconds_to_first_answer)
                cpu[name].append(server.cpu())
                time.sleep(2)
                memory[name].append(server.memory())
    with serving(commands[PRODUCT], setting.environment(PRODUCT, reports=True)) as server:
        time.sleep(WARM_UP_DELAY + WARM_UP_SECONDS)
        warm = server.memory()
    print(f"\nStart in production mode, medians of {rounds} rounds\n")
    print("| server | s to the first 200 | s of CPU until then | MB, idle after 2 s |")
    print("|---|---|---|---|")
    for name in commands:
        print(
            f"| {name} | {statistics.median(seconds[name]):.2f} "
            f"| {statistics.median(cpu[name]):.2f} | {statistics.median(memory[name]) / 1e6:.0f} |"
        )
    print(f"\nThe product with all libraries loaded: {warm / 1e6:.0f} MB")


def machine() -> str:
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    node = subprocess.run(["node", "-v"], capture_output=True, text=True, check=True).stdout
    return (
        f"{len(models)} cores {models[0]}; Python {sys.version.split()[0]}, "
        f"node {node.strip()}; load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keeps the installed twins for the next run")
    parser.add_argument("--only", nargs="+", default=["http", "sockets", "start"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    for program in ("wrk", "node", "npm"):
        if shutil.which(program) is None:
            raise SystemExit(f"this benchmark needs {program}")
    allow_descriptors(IDLE_SOCKETS + 100)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cookcam-twins-")))
        kept = (options.folder or folder).resolve()
        kept.mkdir(parents=True, exist_ok=True)
        installation = Installation.in_folder(kept)
        print(machine())
        if "sockets" in options.only:
            compare_sockets(installation, options.rounds)
        if {"http", "start"} & set(options.only):
            setting = Setting.of(stack.enter_context(sandbox_process(folder / "home")))
            if "http" in options.only:
                compare_http(installation, setting, folder, options.rounds, options.seconds)
            if "start" in options.only:
                compare_starts(installation, setting, options.rounds)


if __name__ == "__main__":
    main()
