"""The charts of a deal's page: the fields of the two-axis chart, and the texts of the marks of the timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from registry.domain.audit.entries import AuditEntry
from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.formatting.language import N_
from registry.formatting.summaries import summarize_event
from registry.formatting.values import shown
from registry.web.charts import two_axis
from registry.web.charts.timeline import TimelineMark
from registry.web.charts.two_axis import TwoAxisChart, known_values, two_axis_chart
from registry.web.page.request import PageRequest

# The most fields that the two-axis chart can show.
MAX_CHART_FIELDS = 20
# The most events that the text of one mark of the timeline names, and the most characters for each.
MAX_MARK_EVENTS = 6
MAX_MARK_TEXT = 100

_MILESTONE_DATES = {
    "planned": N_("planned for %(date)s"),
    "earlier": N_("was planned for %(date)s"),
    "reached": N_("reached on %(date)s"),
}


def mark_text(page: PageRequest, names: dict[str, str]) -> Callable[[TimelineMark], str]:
    """A function that writes the text of a mark of the timeline."""
    formatter = shown(page.language)

    def announcement(entry: AuditEntry) -> str:
        effective = entry.effective
        summary = summarize_event(formatter, effective.event, names, MAX_MARK_TEXT)
        return f"{formatter.type_of(effective.recorded.type)}: {summary}"

    def write(mark: TimelineMark) -> str:
        if mark.date:
            return formatter.words.translate(_MILESTONE_DATES[mark.kind], date=formatter.figures.edtf_date(mark.date))
        texts: dict[str, None] = {}
        for entry in mark.entries:
            if len(texts) == MAX_MARK_EVENTS:
                break
            texts[announcement(entry)] = None
        return "; ".join(texts)

    return write


def chart_fields(deal: Deal, entries: Sequence[AuditEntry]) -> list[str]:
    """The fields that the two-axis chart can show: those that changed after they were first set."""
    changes = Counter(change.path for entry in entries for change in entry.changes)
    return [path for path in _dated_fields(deal) if changes[path] > 1][:MAX_CHART_FIELDS]


def field_charts(
    page: PageRequest, stream: FoldedStream[Deal], path: str
) -> tuple[TwoAxisChart | None, TwoAxisChart | None]:
    """The two-axis charts of a field, for wide and for narrow screens."""
    known = known_values(stream, path, page.times.axis)
    chart = partial(two_axis_chart, stream, known, page.times.axis, page.as_of, page.times.effective_on)
    return chart(two_axis.WIDE), chart(two_axis.NARROW)


def _dated_fields(deal: Deal) -> list[str]:
    return [
        *(f"/pledges/{p.pledge}/amount" for p in deal.pledges),
        "/stage",
        *(f"/milestones/{m.milestone}/planned" for m in deal.milestones),
        *(f"/sites/{s.site}/power_mw" for s in deal.sites if s.power_mw),
    ]
