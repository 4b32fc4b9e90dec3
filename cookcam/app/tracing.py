"""Tracing of the whole program, if a collector is configured (docs/tracing.md)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from cookcam.config import Config
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.row_buffer import RowBuffer
from cookcam.integrations.otlp import OtlpExporter, encode_span
from cookcam.lifecycle.groups import service_nursery
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.tracing import Span, Tracer, activate

MAX_SPANS: Final = 10_000
"""Spans that wait for the collector, some 3 MB."""
RETRY_DELAY: Final = 5.0
"""Seconds after a failed export."""
FINAL_FLUSH_TIMEOUT: Final = 1.0
"""Seconds for the last spans when the server stops."""


@asynccontextmanager
async def open_tracing(config: Config, metrics: Metrics) -> AsyncGenerator[None]:
    """Trace what runs within the block. Without OTEL_EXPORTER_OTLP_ENDPOINT it does nothing."""
    settings = config.observability
    if settings.otlp_endpoint is None:
        yield
        return
    resource = {
        "service.name": settings.service_name,
        "service.version": config.release,
        "deployment.environment.name": config.environment,
    }

    def count(outcome: str, spans: int) -> None:
        metrics.trace_spans_total.of(outcome).inc(spans)

    async with (
        OtlpExporter.open(settings.otlp_endpoint, settings.otlp_headers, resource) as exporter,
        service_nursery() as nursery,
    ):
        buffer = RowBuffer(
            "spans", exporter.write, count, MAX_SPANS, final_timeout=FINAL_FLUSH_TIMEOUT
        )
        nursery.start_soon(_export, buffer)

        def export(span: Span) -> None:
            try:
                buffer.add([encode_span(span)])
            except ServiceUnavailable:  # the buffer is full or closed
                count("dropped", 1)

        with activate(Tracer(export, settings.trace_ratio)):
            yield


async def _export(buffer: RowBuffer) -> None:
    available = True
    while True:
        try:
            await buffer.run()
        except ServiceUnavailable:
            if available:
                get_logger(__name__).warning("the trace collector is unavailable")
            available = False
            await trio.sleep(RETRY_DELAY)
