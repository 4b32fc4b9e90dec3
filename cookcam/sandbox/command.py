"""`cookcam sandbox`: runs the sandbox until it is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import trio

from cookcam.database.migrate import MigrationError
from cookcam.sandbox.home import SandboxError
from cookcam.sandbox.running import Sandbox, open_sandbox


async def run_sandbox(
    home: Path,
    host: str,
    port: int,
    *,
    attached: bool,
    say: Callable[[str], None],
    fail: Callable[[str], None],
) -> int:
    """Runs until SIGTERM, SIGINT or, when `attached`, the end of standard input.

    Returns the exit status: 0 when it ran and stopped, 1 when it could not start.
    """
    status = 0
    # The receiver stays until the end, so that an impatient second Ctrl-C cannot leave
    # PostgreSQL behind.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            if attached:
                nursery.start_soon(_cancel_on_end_of_input, nursery.cancel_scope)
            try:
                async with open_sandbox(home, port, host) as sandbox:
                    for line in _described(sandbox):
                        say(line)
                    await trio.sleep_forever()
            except (SandboxError, MigrationError) as error:
                fail(" ".join(str(error).split()))
                status = 1
                nursery.cancel_scope.cancel()
    return status


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _cancel_on_end_of_input(scope: trio.CancelScope) -> None:
    """`cookcam dev` holds the other end: it closes even when that process is killed."""
    while await trio.to_thread.run_sync(_read_input, abandon_on_cancel=True):
        pass
    scope.cancel()


def _read_input() -> bytes:
    return os.read(0, 1024)


def _described(sandbox: Sandbox) -> list[str]:
    return [
        f"PostgreSQL      {sandbox.postgres.data}, {len(sandbox.migrated)} migrations applied",
        f"Supabase Auth   {sandbox.gotrue.url} (fake)",
        f"OpenAI          {sandbox.openai.url} (fake)",
        f"USDA            {sandbox.usda.url} (fake)",
        f"demo users      {', '.join(user.email for user in sandbox.users)}",
        f"settings        cookcam serve --env-file {sandbox.home / 'sandbox.env'}",
    ]
