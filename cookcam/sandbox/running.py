"""The sandbox as a whole: database, migrations, stand-ins, demo data, and the files about them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import asdict, frozen

from cookcam.database.migrate import migrate
from cookcam.sandbox import home as sandbox_home
from cookcam.sandbox.gotrue import Gotrue, open_gotrue
from cookcam.sandbox.ports import free_port
from cookcam.sandbox.postgres import APP, OWNER, Postgres, open_postgres
from cookcam.sandbox.seed import DemoUser, seed

AUTH_PORT_OFFSET = 100
"""The stand-in for Supabase Auth listens this far above the API, clear of PM2's second instance."""


@frozen
class Sandbox:
    """What runs, and what the server needs to know to use it."""

    home: Path
    base_url: str
    postgres: Postgres
    gotrue: Gotrue
    users: list[DemoUser]
    migrated: list[str]

    @property
    def bindings(self) -> dict[str, str]:
        """The settings that tie a server to this sandbox, by variable."""
        return {
            "DATABASE_URL": self.postgres.url(APP),
            "MIGRATION_DATABASE_URL": self.postgres.url(OWNER),
            "SUPABASE_URL": self.gotrue.url,
            "SUPABASE_ANON_KEY": self.gotrue.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.gotrue.service_role_key,
        }


DEFAULTS: Mapping[str, str] = {
    "APP_ENV": "development",
    # Required at start; nothing of the sandbox calls the service yet.
    "OPENAI_API_KEY": "sk-sandbox",
}
"""Settings the sandbox brings and the environment may replace."""


@asynccontextmanager
async def open_sandbox(home: Path, port: int) -> AsyncGenerator[Sandbox]:
    """Runs the database and the stand-ins until the block ends.

    `port` is the port the API will use (0: a free one); nothing here listens on it. When the
    block begins, `home/sandbox.env` and `home/sandbox.json` are there; the second goes when the
    block ends.
    Raises SandboxError in words for whoever started it.
    """
    port = port or free_port()
    with sandbox_home.owned(home) as home:
        announcement = home / "sandbox.json"
        announcement.unlink(missing_ok=True)  # of a run that was killed
        async with open_postgres(home / "postgres") as postgres:
            owner_url = postgres.url(OWNER)
            migrated = await migrate(owner_url)
            async with open_gotrue(
                owner_url,
                port=free_port(port + AUTH_PORT_OFFSET),
                key_file=home / "auth-key.pem",
            ) as gotrue:
                users = await seed(gotrue, owner_url)
                base_url = f"http://127.0.0.1:{port}"
                sandbox = Sandbox(home, base_url, postgres, gotrue, users, migrated)
                sandbox_home.write_env(
                    home / "sandbox.env", {**DEFAULTS, "PORT": str(port), **sandbox.bindings}
                )
                sandbox_home.write_json(announcement, _announced(sandbox))
                try:
                    yield sandbox
                finally:
                    announcement.unlink(missing_ok=True)


def _announced(sandbox: Sandbox) -> dict[str, object]:
    postgres = sandbox.postgres
    return {
        "pid": os.getpid(),
        "base_url": sandbox.base_url,
        # The owner's login, for looking at everything; the server's own is in sandbox.env.
        "database_url": postgres.url(OWNER),
        "supabase_url": sandbox.gotrue.url,
        "demo_users": [asdict(user) for user in sandbox.users],
        "env_file": str(sandbox.home / "sandbox.env"),
        "postgres": {
            "data": str(postgres.data),
            "binaries": str(postgres.binaries),
            "system_user": postgres.system_user,
        },
    }
