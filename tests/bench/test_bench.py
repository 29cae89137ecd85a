"""The benchmarks: each gives its rows, at sizes too small to measure speed."""

from __future__ import annotations

import pytest

from bench.__main__ import run
from bench.benchmarks import BENCHMARKS
from bench.load_generator import RequestPlan
from bench.report import Measurement, document, read_sections, sections, table
from bench.sizes import TINY
from bench.workload import ROUNDS, announcement, lines, posts, recording_order
from registry.events import intake


@pytest.mark.drill
@pytest.mark.parametrize("name", BENCHMARKS)
async def test_benchmark_gives_rows_with_ratios_and_figures(name: str) -> None:
    rows, settings = await run(TINY, [name], own_load=True)

    assert settings["fsync"] == settings["synchronous_commit"] == "on"
    assert rows[name]
    for row in rows[name]:
        assert row.figures
        assert all(ratio > 0 for ratio in row.ratios)
        assert row.measure in table(rows[name])


def test_workload_consists_of_valid_announcements_in_order_for_each_deal() -> None:
    parsed = [intake.import_line(line) for line in lines(3)]

    assert [(kind, slug) for kind, slug, _ in parsed] == [("deal", f"deal-{deal:07}") for deal, _ in recording_order(3)]
    assert len({a.id for _, _, a in parsed}) == 3 * ROUNDS
    assert [step for deal, step in recording_order(1300) if deal == 700] == list(range(ROUNDS))
    assert announcement(1, 2) == announcement(1, 2) != announcement(2, 2)


def test_request_plan_is_a_file_of_requests_deleted_on_close() -> None:
    requests = list(posts(2, "key"))
    plan = RequestPlan(requests)

    assert plan.path.read_bytes().split(b"\x1e\n")[:-1] == requests
    assert requests[0].startswith(b"POST /v1/deals/deal-0000000/events HTTP/1.1\r\n")
    plan.close()
    assert not plan.path.exists()


@pytest.mark.parametrize(
    ("ratios", "must", "aim", "more", "verdict"),
    [
        ((0.2, 0.6, 0.4), 0.3, 0.5, True, "reached"),
        ((0.2, 0.6, 0.55), 0.3, 0.5, True, "aim"),
        ((0.2, 0.1, 0.55), 0.3, 0.5, True, "**missed**"),
        ((1.4,), 1.5, 1.2, False, "reached"),
        ((1.1,), 1.5, 1.2, False, "aim"),
        ((1.6,), 1.5, 1.2, False, "**missed**"),
        ((7.0,), None, None, False, "reported"),
    ],
)
def test_measurement_verdict_is_the_bound_that_its_median_reaches(
    ratios: tuple[float, ...], must: float | None, aim: float | None, more: bool, verdict: str
) -> None:
    row = Measurement(measure="a", ratios=ratios, must=must, aim=aim, figures="b", more=more)

    assert row.verdict == verdict
    assert f"| {verdict} |" in table([row])


def test_sections_of_a_document_are_read_back_and_name_the_commit() -> None:
    row = Measurement(measure="a", ratios=[1.0], must=None, aim=None, figures="b")
    made = sections({"one": [row], "none": [], "two": [row, row]}, 0.5)
    assert list(made) == ["one", "two"]
    assert "commit " in made["one"]
    assert read_sections(document(made, {"fsync": "on"}, "wrk", "full")) == made
