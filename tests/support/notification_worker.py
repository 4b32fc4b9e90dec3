"""A process that only delivers notifications, through Expo, until it is killed.

python -m tests.support.notification_worker DATABASE_URL EXPO_URL
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import trio

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.messaging.notifications import sender
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.integrations.push import Expo
from cookcam.realtime.notifiers import NullNotifier


class _Uncounted:
    def attempted(self, channel: str, attempts: int) -> None:
        pass

    def settled(self, kind: str, status: str) -> None:
        pass


async def main(database_url: str, expo_url: str) -> None:
    config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=2)
    async with Database.open(config) as database, Expo.open(url=expo_url) as expo:
        queue = QueueStore(database, ["expo"])
        worker = sender.Sender(
            queue, NullNotifier(), {"expo": expo}, lambda: datetime.now(UTC), _Uncounted()
        )
        await worker.run()


if __name__ == "__main__":
    sender.BATCH_SIZE = 10  # type: ignore[misc] # several batches of few notifications
    trio.run(main, sys.argv[1], sys.argv[2])
