"""What the program does for itself: health, its first moments, and the sweeping of old rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import frozen

from cookcam.app.channel import Channel
from cookcam.app.ground import Ground
from cookcam.app.providers import Providers
from cookcam.app.readiness import Heavy, ReadyAnnouncement, warm_up
from cookcam.app.reports import TaskReports
from cookcam.database.migrate import pending
from cookcam.features.operations.health import routes as health_routes
from cookcam.features.operations.health.external_services import Check, ExternalServices
from cookcam.features.operations.health.service import Health
from cookcam.features.operations.retention.service import Retention
from cookcam.features.operations.retention.store import SweepStore
from cookcam.features.social.cooking.service import Cooking
from cookcam.http import Routes
from cookcam.lifecycle.background import Task


@frozen
class Upkeep:
    ground: Ground
    heavy: Sequence[Heavy]
    heavier: Sequence[Heavy]
    external_services: ExternalServices
    health: Health
    retention: Retention

    @classmethod
    def of(cls, ground: Ground, channel: Channel, providers: Providers, cooking: Cooking) -> Upkeep:
        external_services = ExternalServices(external_checks(ground, providers))
        config, sockets = ground.config, ground.config.realtime.enabled
        reports = TaskReports(ground.metrics, ground.reporter)
        return cls(
            ground=ground,
            heavy=[providers.identity, *([providers.stripe] if providers.stripe else [])],
            heavier=[providers.openai],
            external_services=external_services,
            health=Health(
                config,
                ground.lifecycle,
                ping=ground.database.ping,
                pending=lambda: pending(config.database.url.reveal()),
                realtime=channel.realtime if sockets else None,
                cooking_sessions=cooking.active_sessions,
                bus_connected=lambda: channel.bus.connected or not sockets,
                external_apis=external_services.report,
            ),
            retention=Retention(SweepStore(ground.database), ground.now, reports.task_failed),
        )

    def routes(self) -> list[Routes]:
        return [health_routes.routes(self.health, self.ground.metrics.render)]

    def background(self) -> list[Task]:
        ready = ReadyAnnouncement(self.health, self.ground.config.server.pm2_channel)
        return [
            Task("health checks", self.health.run),
            Task("announce readiness", ready),
            Task("warm up", partial(warm_up, self.heavy, self.heavier)),
            Task("retention", self.retention.run),
            Task("external checks", self.external_services.run),
        ]


def external_checks(ground: Ground, providers: Providers) -> dict[str, Check]:
    """USDA only with a key of our own: anybody's has fewer requests than this would take."""
    checks: dict[str, Check] = {"openai": providers.openai.reachable}
    if ground.config.providers.usda_api_key is not None:
        checks["usda"] = providers.usda.reachable
    return checks
