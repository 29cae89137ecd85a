"""The charts' geometry follows the fold: rectangles that cover what was held, a diagonal that is as it happened."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain import audit
from registry.domain.history import DEALS, AsOf, state_as_of
from registry.domain.totals import row_of
from registry.web import charts, maps
from registry.web.charts import BOTTOM, LEFT, RIGHT, TOP, Level, field_of, step_chart, two_axes
from registry.web.numbers import PROVINCES
from tests.demo.loader import RECORDED_AT, histories

TODAY = date(2026, 1, 6)
AMOUNT = "/pledges/total/amount"


def test_the_rectangles_hold_what_the_registry_held_at_every_corner() -> None:
    history = histories()["sk-aws-ulsan"]
    for path in (AMOUNT, "/stage", "/milestones/groundbreaking/reached"):
        chart = two_axes(history, path, True, AsOf(), TODAY)
        assert chart is not None
        for r in chart.rectangles:
            known = r.known_since
            assert isinstance(known, date)
            seen = state_as_of(history.slug, history.events, AsOf(effective_on=r.since, published_on=known), DEALS)
            assert seen.state is not None
            assert field_of(seen.state, path) == r.value
            if r.until is not None:
                eve = AsOf(effective_on=r.until - timedelta(days=1), published_on=known)
                before = state_as_of(history.slug, history.events, eve, DEALS)
                assert before.state is not None
                assert field_of(before.state, path) == r.value


def test_rectangles_are_disjoint_and_stay_inside_the_plot() -> None:
    for history in histories().values():
        for published in (True, False):
            chart = two_axes(history, "/stage", published, AsOf(), TODAY)
            assert chart is not None
            drawn = chart.rectangles
            for i, a in enumerate(drawn):
                assert a.width > 0
                assert a.height > 0
                assert a.x >= LEFT
                assert a.x + a.width <= RIGHT + 0.2
                assert a.y >= TOP
                assert a.y + a.height <= BOTTOM + 0.2
                for b in drawn[i + 1 :]:
                    apart = a.x + a.width <= b.x + 0.2 or b.x + b.width <= a.x + 0.2
                    above = a.y + a.height <= b.y + 0.2 or b.y + b.height <= a.y + 0.2
                    assert apart or above


def test_both_axes_share_one_scale_so_the_diagonal_is_as_it_happened() -> None:
    chart = two_axes(histories()["sk-aws-ulsan"], AMOUNT, True, AsOf(), TODAY)
    assert chart is not None
    days = {text: x for x, text in chart.x_stops}
    for y, text in chart.y_stops:
        if text in days:
            across = (days[text] - LEFT) / (RIGHT - LEFT)
            up = (BOTTOM - y) / (BOTTOM - TOP)
            assert abs(across - up) < 0.001


def test_the_crosshair_stands_at_the_clocks() -> None:
    history = histories()["sk-aws-ulsan"]
    asked = AsOf(effective_on=date(2025, 6, 20), published_on=date(2025, 6, 22))
    chart = two_axes(history, AMOUNT, True, asked, TODAY)
    assert chart is not None
    across, up = {t: x for x, t in chart.x_stops}, {t: y for y, t in chart.y_stops}
    assert chart.cross == (across["2025-06-20"], up["2025-06-22"])
    now = two_axes(history, AMOUNT, False, AsOf(recorded_at=RECORDED_AT), TODAY)
    assert now is not None
    assert now.cross[1] > TOP


def test_a_field_that_was_never_said_has_no_value() -> None:
    chart = two_axes(histories()["korea-ai-highway"], "/pledges/none/amount", True, AsOf(), TODAY)
    assert chart is not None
    assert {r.value for r in chart.rectangles} == {None}


def test_a_ladder_has_hollow_marks_where_nobody_said_so() -> None:
    history = histories()["sk-aws-ulsan"]
    rungs = charts.ladder(state_as_of(history.slug, history.events, AsOf(), DEALS))
    said = {r.stage: r.reached.since if r.reached else None for r in rungs}
    assert said == {
        "intention": None,
        "signed": None,
        "committed": date(2025, 6, 16),
        "construction": date(2025, 10, 29),
        "operating": None,
    }
    assert [r.stage for r in rungs if r.current] == ["construction"]


amounts = st.lists(st.integers(0, 10**15), min_size=1, max_size=12)


@given(amounts)
@settings(max_examples=50)
def test_the_steps_never_leave_the_chart(values: list[int]) -> None:
    first = date(2024, 1, 1)
    levels = [
        Level(
            first + timedelta(days=31 * i),
            {
                "intended": Decimal(v),
                "pledged": Decimal(v // 2),
                "confirmed": Decimal(0),
                "construction": Decimal(0),
                "operating": Decimal(0),
            },
            Decimal(v),
        )
        for i, v in enumerate(values)
    ]
    chart = step_chart(levels, first + timedelta(days=500), first, str, str, str)
    if not any(values):
        assert chart is None
        return
    assert chart is not None
    ys = [float(y) for y, _ in chart.levels]
    assert max(ys) == 300.0
    assert min(ys) >= 16.0
    assert len(chart.levels) <= 8
    assert all(step.width >= 0 for step in chart.steps)


def _levels(*highs: tuple[date, int]) -> list[Level]:
    return [
        Level(day, dict.fromkeys(charts.AREAS, Decimal(0)) | {"intended": Decimal(v)}, Decimal(v)) for day, v in highs
    ]


def test_steps_that_moved_an_amount_are_numbered_and_marked_once_where_they_stand_together() -> None:
    days = [date(2024, 1, 1), date(2025, 6, 16), date(2025, 6, 20), date(2025, 6, 22), date(2026, 1, 1)]
    levels = _levels(*zip(days, (5, 10, 10, 12, 7), strict=True))
    chart = step_chart(levels, date(2027, 1, 1), date(2025, 6, 21), str, str, str)
    assert chart is not None
    assert [step.number for step in chart.steps] == [1, 2, None, 3, 4]
    assert [int(step.grew) for step in chart.steps] == [5, 5, 0, 2, -5]
    assert [(flag.first, flag.last) for flag in chart.flags] == [(1, 1), (2, 3), (4, 4)]
    assert all(b.x - a.x >= charts.FLAGS_APART for a, b in pairwise(chart.flags))
    assert chart.shown is levels[2]
    assert step_chart(levels, date(2027, 1, 1), date(2023, 1, 1), str, str, str).shown is None  # type: ignore[union-attr]


def test_an_areas_amount_is_written_into_it_where_there_is_room() -> None:
    areas = dict(zip(charts.AREAS, map(Decimal, (100, 60, 59, 20, 0)), strict=True))
    wide = step_chart([Level(date(2025, 1, 1), areas, Decimal(100))], date(2026, 1, 1), date(2026, 1, 1), str, str, str)
    assert wide is not None
    # The second one shows as a line only: almost all of it is confirmed.
    assert [(c.area, int(c.amount)) for c in wide.captions] == [
        ("intended", 100),
        ("confirmed", 59),
        ("construction", 20),
    ]
    levels = [Level(date(2020, 1, 1), areas, Decimal(100)), Level(date(2025, 12, 1), areas, Decimal(100))]
    narrow = step_chart(levels, date(2026, 1, 1), date(2026, 1, 1), str, str, str)
    assert narrow is not None
    assert narrow.captions == []


def test_what_is_being_built_is_confirmed_so_that_the_areas_lie_in_each_other() -> None:
    for history in histories().values():
        row = row_of(state_as_of(history.slug, history.events, AsOf(), DEALS).state or history.state)
        for pledge in row.pledges:
            kept = [area for area, keeps in charts.AREAS.items() if keeps(row, pledge)]
            assert kept == list(charts.AREAS)[: len(kept)], (row.deal, pledge.pledge)


def test_a_date_stands_beside_its_marks_inside_the_time_line() -> None:
    history = histories()["sk-aws-ulsan"]
    entries = audit.audit(history.events, AsOf(), DEALS)
    seen = state_as_of(history.slug, history.events, AsOf(), DEALS)
    line = charts.time_line(seen, entries, TODAY, str, str, str, "", "{0} {1}".format, str)
    assert line is not None
    said = {row.said[0]: row.said for row in line.rows if row.said}
    assert set(said) == {"2027", "2029", "2025-08-29"}
    assert said["2027"][2] == "start"
    assert said["2029"][2] == "end"


def test_the_map_has_every_province_and_places_lie_on_it() -> None:
    outline = maps.korea()
    assert {p.code for p in outline.provinces} == set(PROVINCES)
    for province in outline.provinces:
        assert 0 < province.x < outline.width
        assert 0 < province.y < outline.height
        assert province.path.startswith("M")
    world = maps.world()
    assert {"KR", "US", "JP", "FR", "DE", "AE"} <= {p.code for p in world.provinces}
    assert len(world.land) < 15_000
    # Where land crosses the date line no edge runs back across the whole map.
    for ring in "".join([world.land, *(p.path for p in world.provinces)]).split("M")[1:]:
        steps = [int(n) for n in re.findall(r"-?\d+", ring)][2:]
        assert all(abs(step) < world.width / 4 for step in steps[::2])


@given(st.lists(st.dates(), min_size=1, max_size=5), st.dates(), st.dates())
def test_a_level_of_any_day_stands_inside_the_chart(days: list[date], until: date, on: date) -> None:
    levels = [Level(day, dict.fromkeys(charts.AREAS, Decimal(1)), Decimal(1)) for day in sorted(set(days))]
    chart = step_chart(levels, until, on, str, str, str)
    assert chart is not None
    assert all(0 <= step.x <= step.x + step.width <= charts.WIDTH for step in chart.steps)
    assert len(chart.ticks) <= 10


@given(st.dates())
@settings(max_examples=20)
def test_a_deal_asked_for_on_any_day_has_its_time_line(on: date) -> None:
    history = histories()["sk-aws-ulsan"]
    entries = audit.audit(history.events, AsOf(), DEALS)
    seen = state_as_of(history.slug, history.events, AsOf(), DEALS)
    line = charts.time_line(seen, entries, on, str, str, str, "", lambda kind, text: text, str)
    assert line is not None
    assert 0 <= line.now <= charts.WIDTH
    assert all(0 <= mark.x <= charts.WIDTH for row in line.rows for mark in row.marks)
