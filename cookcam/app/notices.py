"""What reaches people who are not there: push notifications."""

from __future__ import annotations

from attrs import frozen

from cookcam.app.ground import Ground
from cookcam.app.providers import Providers
from cookcam.features.messaging.notifications import routes as device_routes
from cookcam.features.messaging.notifications.device_store import DeviceStore
from cookcam.features.messaging.notifications.queue_store import QueueStore
from cookcam.features.messaging.notifications.schedule import Schedule
from cookcam.features.messaging.notifications.schedule_store import ScheduleStore
from cookcam.features.messaging.notifications.sender import Sender
from cookcam.http import Routes
from cookcam.lifecycle.background import Task


@frozen
class Notices:
    devices: DeviceStore
    sender: Sender
    schedule: Schedule

    @classmethod
    def of(cls, ground: Ground, providers: Providers) -> Notices:
        queue = QueueStore(ground.database, list(providers.push))
        counted = ground.metrics.push_notifications_total
        return cls(
            devices=DeviceStore(ground.database),
            sender=Sender(
                queue,
                providers.push,
                ground.now,
                lambda kind, status: counted.of(kind, status).inc(),
            ),
            schedule=Schedule(ScheduleStore(queue), ground.now),
        )

    def routes(self) -> list[Routes]:
        return [device_routes.routes(self.devices)]

    def background(self) -> list[Task]:
        if not self.sender.services:  # nothing is queued that nobody sends
            return []
        return [
            Task("push schedule", self.schedule.run),
            Task("push notifications", self.sender.run),
        ]
