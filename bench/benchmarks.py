"""All benchmarks by name, in the order in which they run.

In a repetition, the registry and what it is compared with run one after the other. Each figure is what a client
measures over HTTP, unless the title of its row says that it is measured in the database or in process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bench.concurrency import flood, listeners, processes
from bench.context import Bench
from bench.internals import partitions, validation
from bench.large_log import disk, huge, importing, large, rebuilding
from bench.one_deal import one_deal
from bench.question_costs import asking, chart, exports, first_questions, huge_questions
from bench.reading import pages, reading
from bench.recording import long_deal, posting
from bench.report import Measurement
from bench.sheet_import import sheets

Benchmark = Callable[[Bench], Awaitable[list[Measurement]]]

BENCHMARKS: dict[str, Benchmark] = {
    "posting": posting,
    "reading": reading,
    "pages": pages,
    "long-deal": long_deal,
    "one-deal": one_deal,
    "listeners": listeners,
    "processes": processes,
    "flood": flood,
    "validation": validation,
    "partitions": partitions,
    "importing": importing,
    "sheets": sheets,
    "disk": disk,
    "large": large,
    "totals": asking("totals"),
    "lists": asking("lists"),
    "changes": asking("changes"),
    "cliffs": asking("cliffs"),
    "first-questions": first_questions,
    "chart": chart,
    "exports": exports,
    "rebuilding": rebuilding,
    "huge": huge,
    "huge-questions": huge_questions,
}
