"""The metrics of one process: its requests, its batches and the errors that it answered. No key is in a label."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


# The times at which counters were created would be a third of the page.
disable_created_metrics()  # type: ignore[no-untyped-call]


class RequestCounts(Collector):
    """Counts requests and their times, for the event loop alone.

    The counters of prometheus_client take locks, and five times as long: 5 µs a request.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        # By method and route: the requests of each bucket and beyond the last, and the sum of their seconds.
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._sums: dict[tuple[str, str], float] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._counts[method, route, status] = self._counts.get((method, route, status), 0) + 1
        buckets = self._buckets.get((method, route))
        if buckets is None:
            buckets = self._buckets[method, route] = [0] * (len(SECONDS) + 1)
        buckets[bisect_left(SECONDS, seconds)] += 1
        self._sums[method, route] = self._sums.get((method, route), 0.0) + seconds

    def collect(self) -> Iterator[Metric]:
        """The metrics of all requests."""
        requests = CounterMetricFamily(
            "registry_http_requests", "Responses sent.", labels=("method", "route", "status")
        )
        for (method, route, status), count in self._counts.items():
            requests.add_metric((method, route, str(status)), count)
        yield requests
        times = HistogramMetricFamily(
            "registry_http_request_seconds", "Seconds until the whole response was sent.", labels=("method", "route")
        )
        bounds = [*map(floatToGoString, SECONDS), "+Inf"]
        for labels, buckets in self._buckets.items():
            times.add_metric(labels, list(zip(bounds, accumulate(buckets), strict=True)), self._sums[labels])
        yield times


class Metrics:
    """The metrics of one process.

    Litestar's Prometheus plugin has other names and labels than the published ones, one registry for all applications
    of a process, and no requests for unknown paths.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = RequestCounts()
        self.registry.register(self.requests)
        self.in_flight = 0
        in_flight = Gauge("registry_http_requests_in_flight", "Requests in progress.", registry=self.registry)
        in_flight.set_function(lambda: self.in_flight)
        self.waiting = Gauge("registry_recorder_waiting", "Requests in the write queue.", registry=self.registry)
        self.group = Histogram(
            "registry_recorder_group_events",
            "Events in one batch of this process.",
            buckets=EVENTS,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "registry_recorder_batch_seconds",
            "Seconds from taking a batch of this process from the queue to its commit.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.projection_seconds = Histogram(
            "registry_projection_seconds",
            "Seconds that the rows of a batch's projections took to compute.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.problems = Counter(
            "registry_problems", "Problem documents sent, by the code of the error.", ("code",), registry=self.registry
        )
        self.position = Gauge("registry_log_position", "The log's last position.", registry=self.registry)

    def count_problem(self, code: str | None) -> None:
        """Count an error that was answered, by its code."""
        if code is not None:
            self.problems.labels(code).inc()
