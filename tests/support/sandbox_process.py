"""`cookcam sandbox` as a process, for the servers that a test starts apart."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import trio
from attrs import frozen
from dotenv import dotenv_values

from tests.support.commands import start
from tests.support.environments import STAGING

START_TIMEOUT = 60.0


@frozen
class SandboxProcess:
    """A sandbox that is ready; `about` is its sandbox.json."""

    about: dict[str, Any]

    @property
    def settings(self) -> dict[str, str]:
        """What ties a server to this sandbox, and what a server needs besides."""
        values = dotenv_values(self.about["env_file"], interpolate=False)
        return {name: value or "" for name, value in values.items() if name != "PORT"}

    @property
    def staging(self) -> dict[str, str]:
        """A whole deployment, made up but for the sandbox. Reports go nowhere.

        Of staging, since production refuses services of this machine.
        """
        return {
            **STAGING,
            **self.settings,
            "APP_ENV": "staging",
            "SENTRY_DSN": "http://key@127.0.0.1:9/1",
        }

    @property
    def credentials(self) -> dict[str, str]:
        """A demo user to log in as."""
        user = self.about["demo_users"][0]
        return {"email": user["email"], "password": user["password"]}

    def behave(self, **behaviour: object) -> None:
        """Changes the behaviour of the fake Supabase Auth, for instance `delay=2`."""
        httpx.put(
            f"{self.about['supabase_url']}/sandbox/behaviour",
            headers={"Authorization": f"Bearer {self.settings['SUPABASE_SERVICE_ROLE_KEY']}"},
            json=behaviour,
            timeout=30,
            verify=False,
        ).raise_for_status()

    def sign_in(self, number: int = 0) -> dict[str, Any]:
        """A session of the demo user of that number, from the fake itself."""
        user = self.about["demo_users"][number]
        response = httpx.post(
            f"{self.about['supabase_url']}/auth/v1/token",
            params={"grant_type": "password"},
            headers={"apikey": self.settings["SUPABASE_ANON_KEY"]},
            json={"email": user["email"], "password": user["password"]},
            timeout=30,
            verify=False,
        )
        return response.raise_for_status().json()

    @contextmanager
    def lock_on(self, table: str) -> Iterator[None]:
        """Readers and writers of the table wait until the end of the block."""
        with psycopg.connect(self.about["database_url"]) as connection:
            connection.execute(f"lock table {table} in access exclusive mode".encode())
            yield

    def waiting_for_locks(self) -> int:
        """How many sessions of the database wait for a lock."""
        [(count,)] = self.rows("select count(*) from pg_stat_activity where wait_event_type='Lock'")
        return count

    async def lock_is_waited_for(self) -> None:
        """Waits until a session of the database waits for a lock."""
        with trio.fail_after(START_TIMEOUT):
            while not self.waiting_for_locks():
                await trio.sleep(0.02)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the owner of the database reads."""
        with psycopg.connect(self.about["database_url"], autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()


@contextmanager
def sandbox_process(home: Path) -> Iterator[SandboxProcess]:
    """A sandbox in `home`, stopped after the block."""
    process = start("sandbox", "--home", str(home), "--port", "0", cwd=home.parent)
    try:
        yield SandboxProcess(_wait_until_ready(process, home / "sandbox.json"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _wait_until_ready(process: Any, announcement: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        if announcement.exists():
            return json.loads(announcement.read_text())
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the sandbox was not ready within {START_TIMEOUT:g} s")
