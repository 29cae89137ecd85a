"""Chart geometry agrees with the domain: rectangles with the states, marks with the history, lines with the totals."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations, pairwise
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.domain.assessment import assess
from registry.domain.audit.entries import audit_trail
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal, SiteState
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.domain.totals import row_of
from registry.domain.totals.tiers import TIERS, TierAmounts
from registry.i18n.places import place_name
from registry.web.charts import maps, two_axis
from registry.web.charts import step_chart as steps
from registry.web.charts import timeline as lines
from registry.web.charts.geometry import Frame, LinearScale
from registry.web.charts.ladder import ladder_marks
from registry.web.charts.step_chart import LABEL_DISTANCE, MARKER_DISTANCE, StepChart, step_chart
from registry.web.charts.timeline import TimelineChart, timeline
from registry.web.charts.two_axis import TwoAxisChart, field_value, known_values, two_axis_chart
from registry.web.page.as_of import Axis
from tests.demo.loader import histories
from tests.reference_rates import reference_rates

TODAY = date(2026, 1, 6)
AMOUNT = "/pledges/total/amount"
NOW = AsOf()
TWO_AXIS_FRAMES = [two_axis.WIDE, two_axis.NARROW]
TIMELINE_FRAMES = [lines.WIDE, lines.NARROW]
STEP_FRAMES = [steps.WIDE, steps.NARROW]


def snapshot_of(stream: FoldedStream[Deal], as_of: AsOf = NOW) -> StateAsOf[Deal]:
    return state_as_of(stream.slug, stream.events, as_of, DEALS)


def state_of(stream: FoldedStream[Deal], as_of: AsOf = NOW) -> Deal:
    state = snapshot_of(stream, as_of).state
    assert state is not None
    return state


def axes_of(stream: FoldedStream[Deal], path: str, axis: Axis, *how: Any) -> TwoAxisChart | None:
    return two_axis_chart(stream, known_values(stream, path, axis), axis, *how)


def ulsan_chart(path: str = AMOUNT, as_of: AsOf = NOW) -> TwoAxisChart:
    axis: Axis = "published" if as_of.recorded_at is None else "recorded"
    chart = axes_of(histories()["sk-aws-ulsan"], path, axis, as_of, as_of.effective_on or TODAY)
    assert chart is not None
    return chart


def timeline_of(deal: str, day: date = TODAY, frame: Frame = lines.WIDE) -> TimelineChart:
    stream = histories()[deal]
    line = timeline(state_of(stream), audit_trail(stream.events, NOW, DEALS, Calendar()), day, frame)
    assert line is not None
    return line


def test_each_rectangle_has_the_value_that_was_known_at_its_corners() -> None:
    stream = histories()["sk-aws-ulsan"]
    for path in (AMOUNT, "/stage", "/milestones/groundbreaking/reached"):
        for r in ulsan_chart(path).rectangles:
            known = r.known_since
            assert isinstance(known, date)
            first_day = AsOf(effective_on=r.since, published_on=known)
            assert field_value(state_of(stream, first_day), path) == r.value
            if r.until is not None:
                last_day = AsOf(effective_on=r.until - timedelta(days=1), published_on=known)
                assert field_value(state_of(stream, last_day), path) == r.value


@pytest.mark.parametrize("frame", TWO_AXIS_FRAMES)
def test_rectangles_are_disjoint_and_inside_the_plot(frame: Frame) -> None:
    for stream in histories().values():
        for axis in get_args(Axis):
            chart = axes_of(stream, "/stage", axis, NOW, TODAY, frame)
            assert chart is not None
            for i, a in enumerate(chart.rectangles):
                assert a.width > 0
                assert a.height > 0
                assert a.x >= frame.left
                assert a.x + a.width <= frame.right + 0.2
                assert a.y >= frame.top
                assert a.y + a.height <= frame.bottom + 0.2
                for b in chart.rectangles[i + 1 :]:
                    beside = a.x + a.width <= b.x + 0.2 or b.x + b.width <= a.x + 0.2
                    above = a.y + a.height <= b.y + 0.2 or b.y + b.height <= a.y + 0.2
                    assert beside or above


def test_both_axes_have_one_scale_so_the_diagonal_is_known_as_it_took_effect() -> None:
    chart = ulsan_chart()
    frame = chart.frame
    days = {text: x for x, text in chart.x_stops}
    for y, text in chart.y_stops:
        if text in days:
            across = (days[text] - frame.left) / (frame.right - frame.left)
            upward = (frame.bottom - y) / (frame.bottom - frame.top)
            assert abs(across - upward) < 0.001


def test_crosshair_stands_at_the_as_of_point_of_the_page() -> None:
    chart = ulsan_chart(as_of=AsOf(effective_on=date(2025, 6, 20), published_on=date(2025, 6, 22)))
    xs, ys = {text: x for x, text in chart.x_stops}, {text: y for y, text in chart.y_stops}
    assert chart.crosshair == (xs["2025-06-20"], ys["2025-06-22"])
    assert ulsan_chart(as_of=AsOf(recorded_at=datetime(2026, 1, 5, tzinfo=UTC))).crosshair[1] > two_axis.WIDE.top


def test_field_that_no_event_set_has_no_value() -> None:
    chart = axes_of(histories()["korea-ai-highway"], "/pledges/none/amount", "published", NOW, TODAY)
    assert chart is not None
    assert {r.value for r in chart.rectangles} == {None}


def test_ladder_has_no_date_for_a_stage_that_was_never_reported() -> None:
    snapshot = snapshot_of(histories()["sk-aws-ulsan"])
    assert snapshot.state is not None
    marks = ladder_marks(assess(snapshot, snapshot.state, reference_rates()).ladder, snapshot.state.stage)
    assert {mark.step.stage: mark.step.on for mark in marks} == {
        "intention": None,
        "signed": None,
        "committed": date(2025, 6, 16),
        "construction": date(2025, 10, 29),
        "operating": None,
    }
    assert [mark.step.stage for mark in marks if mark.current] == ["construction"]
    assert [mark.passed for mark in marks] == [True, True, True, True, False]


def amounts_on(day: date, intended: int | Decimal, **tiers: int) -> TierAmounts:
    values = dict.fromkeys(TIERS, Decimal(0)) | {"intended": Decimal(intended)}
    return TierAmounts(day, values | {tier: Decimal(value) for tier, value in tiers.items()}, Decimal(intended), ())


def chart_of(series: list[TierAmounts], until: date, day: date, frame: Frame = steps.WIDE) -> StepChart:
    chart = step_chart(series, until, day, frame)
    assert chart is not None
    return chart


@pytest.mark.parametrize("frame", STEP_FRAMES)
@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=12))
@settings(max_examples=50)
def test_amounts_of_any_size_stay_inside_the_step_chart(frame: Frame, values: list[int]) -> None:
    first = date(2024, 1, 1)
    series = [amounts_on(first + timedelta(days=31 * i), v, pledged=v // 2) for i, v in enumerate(values)]
    if not any(values):
        assert step_chart(series, first + timedelta(days=500), first, frame) is None
        return
    chart = chart_of(series, first + timedelta(days=500), first, frame)
    ys = [y for y, _ in chart.gridlines]
    assert max(ys) == frame.bottom
    assert min(ys) == frame.top
    assert len(ys) <= 8
    assert all(step.width >= 0 for step in chart.steps)
    for line in chart.lines:
        heights = [float(y) for y in re.findall(r"(?:M\S+ |V)([0-9.]+)", line.path)]
        assert all(frame.top <= y <= frame.bottom for y in [*heights, line.end, line.label_y])


def test_line_of_a_tier_ends_at_its_last_amount_and_a_larger_amount_is_never_lower() -> None:
    day = date(2025, 1, 1)
    chart = chart_of([amounts_on(day, 100, pledged=60, confirmed=59, construction=20)], date(2026, 1, 1), day)
    last = {**chart.steps[-1].amounts.tiers, steps.UPPER: chart.steps[-1].amounts.upper}
    by_amount = sorted(chart.lines, key=lambda line: last[line.name])
    assert [(line.name, int(last[line.name])) for line in by_amount][:2] == [("construction", 20), ("confirmed", 59)]
    ends = [line.end for line in by_amount]
    assert ends == sorted(ends, reverse=True)
    labels = sorted(line.label_y for line in chart.lines)
    assert all(b - a >= LABEL_DISTANCE - 0.01 for a, b in pairwise(labels))
    assert "operating" not in {line.name for line in chart.lines}


def test_scale_is_logarithmic_where_one_step_dominates_and_starts_at_zero_otherwise() -> None:
    days = [date(2024, 1, 1), date(2024, 7, 1), date(2025, 1, 1)]

    def chart(*values: int) -> StepChart:
        series = [amounts_on(day, value) for day, value in zip(days, values, strict=True)]
        return chart_of(series, date(2025, 6, 1), date(2025, 6, 1))

    dominated = chart(3, 6, 300)
    assert dominated.is_logarithmic
    # The first doubling has a tenth of the height or more, where it would have a hundredth on a linear scale.
    first, second = (step_y(dominated, i) for i in (0, 1))
    assert first - second > (steps.WIDE.bottom - steps.WIDE.top) / 10
    even = chart(3, 6, 9)
    assert not even.is_logarithmic
    assert even.gridlines[0] == (steps.WIDE.bottom, Decimal(0))


def step_y(chart: StepChart, index: int) -> float:
    """The height of the upper bound's line in a step."""
    path = next(line.path for line in chart.lines if line.name == steps.UPPER)
    return float(re.findall(r"(?:M\S+ |V)([0-9.]+)", path)[index])


def test_steps_that_changed_an_amount_are_numbered_and_close_ones_share_a_marker() -> None:
    days = [date(2024, 1, 1), date(2025, 6, 16), date(2025, 6, 20), date(2025, 6, 22), date(2026, 1, 1)]
    series = [amounts_on(day, amount) for day, amount in zip(days, (5, 10, 10, 12, 7), strict=True)]
    chart = step_chart(series, date(2027, 1, 1), date(2025, 6, 21))
    assert chart is not None
    assert [step.number for step in chart.steps] == [1, 2, None, 3, 4]
    assert [int(step.change) for step in chart.steps] == [5, 5, 0, 2, -5]
    assert [(marker.first, marker.last) for marker in chart.markers] == [(1, 1), (2, 3), (4, 4)]
    assert all(b.x - a.x >= MARKER_DISTANCE for a, b in pairwise(chart.markers))
    # Each stands on the line, at the first of its steps.
    first_of = {step.number: index for index, step in enumerate(chart.steps)}
    assert all(
        (m.x, m.y) == (chart.steps[first_of[m.first]].x, step_y(chart, first_of[m.first])) for m in chart.markers
    )
    assert chart.shown is series[2]
    before_the_first = step_chart(series, date(2027, 1, 1), date(2023, 1, 1))
    assert before_the_first is not None
    assert before_the_first.shown is None


def test_each_tier_of_a_deal_includes_the_tiers_after_it() -> None:
    for stream in histories().values():
        row = row_of(snapshot_of(stream).state or stream.state)
        for pledge in row.pledges:
            tiers = [tier for tier, includes in TIERS.items() if includes(row, pledge)]
            assert tiers == list(TIERS)[: len(tiers)], (row.deal, pledge.pledge)


def test_date_of_a_milestone_stands_beside_its_marks_inside_the_timeline() -> None:
    labels = {row.label.date: row.label for row in timeline_of("sk-aws-ulsan").rows if row.label}
    assert set(labels) == {"2027", "2029", "2025-08-29"}
    assert labels["2027"].anchor == "start"
    assert labels["2029"].anchor == "end"
    # In a narrow window there is no room between the mark and the day shown. Beyond it, the date would seem to be its.
    narrow = timeline_of("sk-aws-ulsan", date(2026, 11, 30), lines.NARROW)
    label = next(row.label for row in narrow.rows if row.label and row.label.date == "2025-08-29")
    assert label.is_above


def test_investment_period_is_a_bar_of_its_own_row() -> None:
    [row] = [row for row in timeline_of("aws-korea-2027").rows if row.pledge]
    [bar] = row.marks
    assert (bar.kind, bar.date) == ("horizon", "2027")
    # Without a stated start, the period begins with the announcement.
    [row] = [row for row in timeline_of("aws-korea-2031").rows if row.pledge]
    assert row.marks[0].x == timeline_of("aws-korea-2031").rows[0].marks[0].x
    assert not any(row.pledge for row in timeline_of("amkor-songdo").rows)


@pytest.mark.parametrize("deal", histories())
def test_rows_of_a_narrow_timeline_have_room_for_their_names(deal: str) -> None:
    line = timeline_of(deal, frame=lines.NARROW)
    assert all(b.y - a.y >= 40 for a, b in pairwise(line.rows))
    assert all(0 <= mark.x <= lines.NARROW.width for row in line.rows for mark in row.marks)


@pytest.mark.parametrize("deal", histories())
def test_line_of_the_day_shown_crosses_no_name_of_a_narrow_timeline(deal: str) -> None:
    line = timeline_of(deal, frame=lines.NARROW)
    names = [(row.y - lines.NAME_TOP, row.y - lines.NAME_BOTTOM) for row in line.rows]
    assert not [name for name in names for top, bottom in line.day_spans if top < name[1] and name[0] < bottom]
    assert all(any(top < row.y < bottom for top, bottom in line.day_spans) for row in line.rows)


def test_map_of_korea_has_every_province() -> None:
    outline = maps.korea()
    # ISO 3166-2:KR.
    numbers = (11, 26, 27, 28, 29, 30, 31, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50)
    assert {p.code for p in outline.provinces} == {f"KR-{number}" for number in numbers}
    for province in outline.provinces:
        assert 0 < province.x < outline.width
        assert 0 < province.y < outline.height
        assert province.path.startswith("M")


@pytest.mark.parametrize("language", ["ko", "en"])
def test_names_of_provinces_do_not_overlap(language: str) -> None:
    provinces = maps.korea().provinces
    labels = maps.map_labels((p, place_name(p.code, language)) for p in provinces)
    for one, other in combinations(map(maps.label_box, labels), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    # A province that is named first has its name, however crowded the map is.
    assert " ".join(labels[0].lines) == place_name(provinces[0].code, language)
    if language == "ko":
        assert len(labels) == len(provinces)


def test_map_of_the_world_has_no_edge_across_the_antimeridian() -> None:
    world = maps.world()
    assert {"KR", "US", "JP", "FR", "DE", "AE"} <= {p.code for p in world.provinces}
    assert len(world.land) < 15_000
    for ring in "".join([world.land, *(p.path for p in world.provinces)]).split("M")[1:]:
        steps = [int(n) for n in re.findall(r"-?\d+", ring)][2:]
        assert all(abs(step) < world.width / 4 for step in steps[::2])


def test_axis_of_several_years_has_two_ticks_or_more() -> None:
    for years in range(1, 60):
        ticks = LinearScale(date(2021, 2, 1), date(2021 + years, 2, 1), lines.NARROW.left, lines.NARROW.right).ticks()
        assert len(ticks) >= 2, years


@given(st.lists(st.dates(), min_size=1, max_size=5), st.dates(), st.dates())
def test_amounts_of_any_day_stay_inside_the_step_chart(days: list[date], until: date, shown: date) -> None:
    for frame in STEP_FRAMES:
        chart = chart_of([amounts_on(day, 1) for day in sorted(set(days))], until, shown, frame)
        assert all(0 <= step.x <= step.x + step.width <= frame.width for step in chart.steps)
        assert all(b.x - a.x >= 40 for a, b in pairwise(chart.ticks))


@given(st.dates())
@settings(max_examples=20)
def test_deal_as_of_any_day_has_a_timeline(day: date) -> None:
    for frame in TIMELINE_FRAMES:
        line = timeline_of("sk-aws-ulsan", day, frame)
        assert 0 <= line.day_x <= frame.width
        assert all(0 <= mark.x <= frame.width for row in line.rows for mark in row.marks)


@given(st.dates(date(2024, 1, 1), date(2032, 1, 1)), st.sampled_from(sorted(histories())))
def test_no_date_of_a_timeline_stands_on_the_line_of_the_day_shown(day: date, deal: str) -> None:
    for frame in TIMELINE_FRAMES:
        line = timeline_of(deal, day, frame)
        for row in line.rows:
            if row.label is not None:
                width = lines.date_width(row.label.date) if row.milestone else lines.RANGE_WIDTH
                first = row.label.x - (width if row.label.anchor == "end" else 0)
                assert 0 <= first < first + width <= frame.width
                assert not first < line.day_x < first + width, (row.label, line.day_x)


def site(name: str, **more: Any) -> SiteState:
    unknown = dict.fromkeys(field for field in SiteState.__struct_fields__ if field not in ("claims", "status"))
    return SiteState(**{**unknown, "site": name, "status": "announced", "announced_on": TODAY, **more})


def test_site_with_coordinates_is_a_point_and_one_without_shades_its_region() -> None:
    plant = site("plant", place="KR-31", latitude=Decimal("35.54"), longitude=Decimal("129.36"), precision="exact")
    found = maps.site_map([plant, site("office", place="KR-11")])
    assert found is not None
    assert found.is_korea
    assert [point.name for point in found.points] == ["plant"]
    assert all(0 < p.x < found.outline.width and 0 < p.y < found.outline.height for p in found.points)
    assert found.regions == {"KR-11"}


def test_site_known_to_its_region_only_is_no_point() -> None:
    vague = site("vague", place="KR-31", latitude=Decimal("35.5"), longitude=Decimal("129.3"), precision="region")
    found = maps.site_map([vague])
    assert found is not None
    assert not found.points
    assert found.regions == {"KR-31"}


def test_site_abroad_is_on_the_map_of_the_world() -> None:
    found = maps.site_map([site("ohio", place="US-OH"), site("ulsan", place="KR-31")])
    assert found is not None
    assert not found.is_korea
    assert found.regions == {"US", "KR"}


def test_deal_without_a_known_region_has_no_map() -> None:
    assert maps.site_map([]) is None
    assert maps.site_map([site("somewhere", place="KR")]) is None
    assert maps.site_map([site("gone", place="KR-31", status="dropped")]) is None
