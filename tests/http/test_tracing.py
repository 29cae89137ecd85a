"""OpenTelemetry traces: what a collector receives over OTLP/HTTP, and that nothing is traced without one."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import pytest_asyncio
from msgspec import Struct, field
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from registry.app import create_app
from registry.errors import BadSetting
from tests.api.announcements import pledged, registered
from tests.databases import Server
from tests.service import ADMIN_KEY, Service, cloned, running

# The caller's trace and span (W3C Trace Context).
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


class Collector(Struct):
    """A receiver of OTLP over HTTP: the bodies that it was sent, and their spans."""

    url: str
    bodies: list[bytes] = field(default_factory=list)

    @property
    def requests(self) -> list[Any]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    @property
    def spans(self) -> list[Any]:
        groups = [group for request in self.requests for group in request.resource_spans]
        return [span for group in groups for scope in group.scope_spans for span in scope.spans]

    def of_trace(self, trace: str = TRACE) -> list[Any]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id.hex() == trace]


def attributes(span: Any) -> dict[str, Any]:
    """A span's or a resource's attributes."""
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A running collector."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Collector(f"http://127.0.0.1:{server.server_port}", bodies)
        finally:
            server.shutdown()
            thread.join()


@pytest_asyncio.fixture(scope="module")
async def collected(server: Server, admin: Any) -> Collector:
    """What a collector has received of a service that was asked for a few things and stopped."""
    with collecting() as collector:
        async with (
            cloned(server, admin, "traced") as settings,
            running(replace(settings, otlp_endpoint=collector.url)) as service,
        ):
            await _ask(service)
        # The service has stopped: everything was sent.
        return collector


async def _ask(service: Service) -> None:
    client = service.client
    posted = await client.post("/v1/deals/plant/events", json=registered(), headers=CALLER)
    assert posted.status_code == 201, posted.text
    others = [client.post("/v1/deals/plant/events", json=pledged(pledge=f"p{number}")) for number in range(8)]
    assert {answer.status_code for answer in await asyncio.gather(*others)} == {201}
    read = await client.get("/v1/deals/plant?expand=incoming", headers={**CALLER, "X-Request-Id": "a-request-of-mine"})
    assert read.status_code == 200, read.text
    assert (await client.get("/v1/deals?q=a-secret-word")).status_code == 200
    assert (await client.get("/nothing-here")).status_code == 404
    for probe in ("/health/ready", "/health/live", "/metrics"):
        assert (await client.get(probe)).status_code == 200


async def test_a_trace_contains_the_request_its_statements_and_the_batch_that_recorded_it(collected: Collector) -> None:
    spans = collected.of_trace()
    post = next(span for span in spans if span.name == "POST /v1/deals/{deal}/events")
    assert post.parent_span_id.hex() == SPAN
    assert attributes(post)["http.route"] == "/v1/deals/{deal}/events"
    batch = next(span for span in spans if span.name == "record batch")
    assert batch.parent_span_id == post.span_id
    statements = [span for span in spans if span.parent_span_id == batch.span_id]
    assert any("events" in attributes(span)["db.statement"] for span in statements)

    read = next(span for span in spans if span.name == "GET /v1/deals/{deal}")
    assert attributes(read)["registry.request_id"] == "a-request-of-mine"
    assert attributes(read)["http.status_code"] == 200
    assert [span for span in spans if span.parent_span_id == read.span_id]


async def test_every_request_has_a_span_and_each_batch_names_its_requests(collected: Collector) -> None:
    posts = {span.span_id for span in collected.spans if span.name == "POST /v1/deals/{deal}/events"}
    assert len(posts) == 9
    batches = [span for span in collected.spans if span.name == "record batch"]
    assert posts <= {id for span in batches for id in (span.parent_span_id, *(link.span_id for link in span.links))}
    assert sum(attributes(span)["registry.submissions"] for span in batches) >= 9
    assert [span.name for span in collected.spans if attributes(span).get("http.status_code") == 404] == ["GET"]


async def test_probes_and_background_tasks_are_not_traced(collected: Collector) -> None:
    names = {span.name for span in collected.spans}
    assert not [name for name in names if "health" in name or "metrics" in name]
    known = {span.span_id for span in collected.spans}
    # Every statement stands below a request or its batch.
    assert all(span.parent_span_id in known for span in collected.spans if "db.statement" in attributes(span))


async def test_spans_have_no_keys_no_query_strings_and_no_parameters(collected: Collector) -> None:
    sent = b"".join(collected.bodies)
    assert b"db.statement" in sent
    for secret in (ADMIN_KEY.encode(), b"a-secret-word", b"expand=incoming", b"db.statement.parameters"):
        assert secret not in sent


async def test_resource_names_the_service_and_its_release(collected: Collector) -> None:
    (group, *_) = (group for request in collected.requests for group in request.resource_spans)
    assert attributes(group.resource)["service.name"] == "investment-registry"
    assert attributes(group.resource)["service.version"]


async def test_service_works_and_stops_without_its_collector(
    server: Server, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds for which the exporter tries again, in place of its ten.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with (
        cloned(server, admin, "untraced") as settings,
        running(replace(settings, otlp_endpoint="http://127.0.0.1:9")) as service,
    ):
        assert (await service.client.post("/v1/deals/plant/events", json=registered())).status_code == 201
        assert (await service.client.get("/v1/deals/plant")).status_code == 200


def test_service_without_a_collector_loads_no_exporter() -> None:
    """Litestar imports the API of OpenTelemetry where it is installed."""
    program = (
        "import sys; from pathlib import Path; from registry.app import create_app;"
        " from registry.infra.settings import Settings;"
        " create_app(Settings(data_dir=Path(), signing_key=Path('signing.key')));"
        " assert not [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    from registry.infra.settings import Settings

    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "registry.http.tracing", raising=False)
    settings = Settings(data_dir=Path(), signing_key=Path("signing.key"), otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(BadSetting, match="otel"):
        create_app(settings)
