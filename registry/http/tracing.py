"""OpenTelemetry traces: of requests, of the statements that they run, and of the batches that record their events.

Off unless REGISTRY_OTLP_ENDPOINT is set. Only then is this module imported, because it needs the extra `otel`.
Spans have no keys, no bodies, no query strings and no parameters of statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from typing import Any

from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from registry import version

# Asked every few seconds.
UNTRACED = ["^/health/", "^/metrics$"]

# What the instrumentation takes from a request's URL, in its older and its newer names.
URL_ATTRIBUTES = ("http.url", "http.target", "url.full", "url.query")


class Tracing:
    """The traces of one service.

    The SDK reads its other settings itself (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS …).
    """

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({"service.name": "investment-registry", "service.version": version()})
        self._provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()))
        exporter = _RequestsOnly(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("registry", version())
        self.plugin = OpenTelemetryPlugin(
            OpenTelemetryConfig(
                tracer_provider=self._provider,
                # The route is known when the response starts; a name with the path has no bound.
                scope_span_details_extractor=lambda scope: (str(scope.get("method", "")), {}),
                server_request_hook_handler=_hide_query,
                exclude=UNTRACED,
                exclude_spans=["receive", "send"],
            )
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Trace statements; send what is left when the service stops."""
        statements = AsyncPGInstrumentor()
        statements.instrument(tracer_provider=self._provider)
        try:
            yield
        finally:
            statements.uninstrument()
            # It waits for the collector.
            await asyncio.to_thread(self._provider.shutdown)

    @staticmethod
    async def name_span(message: Any, scope: Any) -> None:
        """Name a request's span after its route, and give it the request's id, when its response starts."""
        if message["type"] != "http.response.start":
            return
        span = trace.get_current_span()
        if route := scope.get("path_template"):
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("registry.request_id", scope["state"]["request_id"])

    @contextmanager
    def batch_span(self, callers: Sequence[Context]) -> Iterator[None]:
        """The span of a batch: below the first request whose events it records, with links to the others."""
        spans = {span.span_id: span for span in map(_span_of, callers) if span.is_valid}
        if not spans:
            yield
            return
        first, *others = spans.values()
        with self._tracer.start_as_current_span(
            "record batch",
            context=trace.set_span_in_context(trace.NonRecordingSpan(first)),
            links=[trace.Link(span) for span in others],
            attributes={"registry.submissions": len(callers)},
        ):
            yield


class _RequestsOnly:
    """An exporter that leaves out the statements of background tasks, such as the look at the log each second."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.shutdown, self.force_flush = exporter.shutdown, exporter.force_flush

    def export(self, spans: Sequence[Any]) -> Any:
        """Send the spans that belong to a request."""
        sent = [span for span in spans if span.parent is not None or span.kind is not trace.SpanKind.CLIENT]
        return self._exporter.export(sent) if sent else SpanExportResult.SUCCESS


def _span_of(context: Context) -> Any:
    return context.run(trace.get_current_span).get_span_context()


def _hide_query(span: Any, scope: dict[str, Any]) -> None:
    """Leave out the query string, which may contain the token of a page."""
    if not span.is_recording():
        return
    for name in URL_ATTRIBUTES:
        if name in span.attributes:
            span.set_attribute(name, "" if name == "url.query" else span.attributes[name].partition("?")[0])
