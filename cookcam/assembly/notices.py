"""What reaches people who are not there: push notifications."""

from __future__ import annotations

from attrs import frozen

from cookcam.assembly.ground import Ground
from cookcam.assembly.providers import Providers
from cookcam.features.notifications import routes as device_routes
from cookcam.features.notifications.device_store import DeviceStore
from cookcam.features.notifications.queue_store import QueueStore
from cookcam.features.notifications.schedule import Schedule
from cookcam.features.notifications.schedule_store import ScheduleStore
from cookcam.features.notifications.sender import Sender
from cookcam.lifecycle.background import Task
from cookcam.web import Routes


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
