"""The edge and the app around a throwaway blueprint that fails in every way there is."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog
from attrs import define, field

from cookcam.config import Config, load
from cookcam.http.app import CookCamApp, create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.http.route_options import hidden, probe
from cookcam.http.routing import Routes
from cookcam.observability.log_writers import LevelLogger, StreamLogWriter
from cookcam.observability.records import as_record, json_line
from cookcam.observability.reports import NoReports, ReportedRequest
from tests.http.client import OURS, Client
from tests.support.environments import DEVELOPMENT
from tests.support.logs import configure_logs

LISTED = "https://cookcam.ai"


@define(eq=False)
class Reports(NoReports):
    """A reporter that stores the reported errors."""

    captured: list[tuple[BaseException, ReportedRequest | None]] = field(factory=list[Any])

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        self.captured.append((error, request))
        return "id"


@define(eq=False)
class Site:
    """One assembled edge and app."""

    config: Config
    app: CookCamApp
    edge: Edge
    limits: RateLimits
    reports: Reports
    extensions: dict[str, Any] = field(factory=lambda: dict(OURS))

    def client(self, **more: Any) -> Client:
        return Client(self.edge, extensions=self.extensions, **more)


class Lines(io.StringIO):
    """What was logged, as records."""

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def of(self, message: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["message"] == message]


@pytest.fixture(autouse=True)
def logged() -> Iterator[Lines]:
    """The lines of this test, as a deployment writes them; everything from debug upwards."""
    lines = Lines()
    log_writer = StreamLogWriter(lines)
    structlog.configure(
        processors=[as_record, json_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=lambda name="": LevelLogger(log_writer, log_writer, name),
    )
    yield lines
    configure_logs()


MakeSite = Callable[..., Site]


def probes() -> Routes:
    """Routes of the kind that monitors call."""
    bp = Routes("probes", __name__, prefixes=("/api/v1", ""))

    @hidden
    @probe
    async def healthy() -> Any:
        return {"healthy": True}

    for path in ("/health", "/health/ready", "/metrics"):
        bp.add_url_rule(path, path.strip("/").replace("/", "-"), healthy, methods=["GET"])

    return bp


def configured(**settings: str) -> Config:
    return load({**DEVELOPMENT, "CORS_ORIGIN": f"{LISTED},https://www.cookcam.ai", **settings})


@pytest.fixture
def make_site() -> MakeSite:
    """`make_site(blueprint, ..., RATE_LIMIT_MAX_REQUESTS="5")`."""

    def make(*blueprints: Routes, environment: Mapping[str, str] | None = None, **settings: str):
        config = configured(**(environment or {}), **settings)
        limits = RateLimits.of(config.limits)
        reports = Reports()
        app = create_app(config, [*blueprints, probes()], limits=limits, reporter=reports)
        edge = Edge(app, config, limits=limits, transport="/socket.io", reporter=reports)
        return Site(config, app, edge, limits, reports)

    return make
