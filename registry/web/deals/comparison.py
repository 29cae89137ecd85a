"""A deal at two points in time: what changed, and which kind of change it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from msgspec.structs import replace

from registry.domain.audit.comparison import AttributedChange, Comparison, compare
from registry.domain.audit.labels import Kind, Label, claim_changes
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.formatting.values import ChangeLine, Names, ValueFormatter, shown
from registry.http.parameters import DealSlug
from registry.infra import freeing
from registry.infra.threads import HEAVY_ITEM, offload_answer, until_cancelled
from registry.queries.deals import DealQueries
from registry.queries.streams import StreamReader
from registry.web.deals.page import load_deal
from registry.web.deals.provenance import json_text
from registry.web.page import as_of, render
from registry.web.page.assets import csv_response
from registry.web.page.cache import cached_page
from registry.web.page.change_points import change_points
from registry.web.page.citations import cite_comparison
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest


class ComparisonPages(Controller):
    """The comparison of a deal as a page and as CSV."""

    @route("/deals/{deal:str}/compare", http_method=READ)
    async def compare_deal(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
        streams: NamedDependency[StreamReader],
    ) -> Response[bytes]:
        """A deal at two points in time, side by side."""
        given_start = await pinned_point(streams, from_as_of)
        end = await pinned_point(streams, to_as_of)

        async def make() -> Rendered:
            view = await load_deal(page, deal, deal_queries)

            def compared() -> Rendered:
                stream = view.stream
                chosen = chosen_start(page, given_start)
                start = first_point(stream) if chosen is None else chosen
                comparison = compare_points(stream, start, end, page.times)
                formatter = shown(page.language)
                return render.render(
                    page,
                    "compare.html",
                    slug=deal,
                    deal=stream.state,
                    names=view.names,
                    start=start,
                    is_start_chosen=chosen is not None,
                    end=end,
                    comparison=comparison,
                    lines_by_kind=sections(
                        {
                            kind: compared_lines(formatter, changes, view.names)
                            for kind, changes in changes_by_kind(comparison).items()
                        }
                    ),
                    events_by_id=stream.record.by_id,
                    recording_times=change_points(stream).recorded,
                    data_url=f"/v1/deals/{deal}/compare?{urlencode(point_parameters(start, end))}",
                    csv_url=f"/deals/{deal}/compare.csv?{urlencode(point_parameters(start, end))}",
                    cite=cite_comparison(
                        page,
                        formatter.words.localized(stream.state.title, deal),
                        page.position,
                        start,
                        end,
                        feed={"deal": deal},
                    ),
                )

            return await offload_answer(HEAVY_ITEM * view.stream.version, compared)

        return await cached_page(page, make)

    @route("/deals/{deal:str}/compare.csv", http_method=READ)
    async def compare_deal_table(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
        streams: NamedDependency[StreamReader],
    ) -> Response[bytes]:
        """A deal's comparison as CSV: a row for each change of a field."""
        view = await load_deal(page, deal, deal_queries)
        start, end = await pinned_point(streams, from_as_of), await pinned_point(streams, to_as_of)

        def table() -> Response[bytes]:
            comparison = compare_points(view.stream, start, end, page.times)
            rows = [
                [c.kind, c.path, json_text(c.before), json_text(c.after), " ".join(map(str, c.causes)), c.label]
                for changes in changes_by_kind(comparison).values()
                for c in changes
            ]
            freeing.after_work(rows)
            return csv_response(
                page, f"{deal}-compare.csv", ("kind", "field", "before", "after", "causes", "label"), rows
            )

        return await offload_answer(HEAVY_ITEM * view.stream.version, table)


async def pinned_point(streams: StreamReader, point: AsOf) -> AsOf:
    """A point, with the day at which its log stood where that decides the effective date."""
    resolved = await streams.resolve(point)
    return replace(point, effective_on=resolved.effective_on) if resolved.log_day else point


def chosen_start(page: PageRequest, given: AsOf) -> AsOf | None:
    """The start of a comparison that the address gives, or else the point that the page shows; None without both."""
    if given != AsOf():
        return given
    return None if page.as_of == AsOf() else replace(page.as_of, effective_on=page.times.effective_on)


def point_parameters(start: AsOf, end: AsOf) -> dict[str, str]:
    """The two points as query parameters."""
    return {**as_of.as_parameters(start, "from."), **as_of.as_parameters(end, "to.")}


def compare_points(stream: FoldedStream[Deal], start: AsOf, end: AsOf, times: as_of.PageAsOf) -> Comparison[Deal]:
    """A deal compared at two points; a point without an effective date is at today's."""
    first, second = (replace(point, effective_on=point.effective_on or times.today) for point in (start, end))
    return compare(stream.events, first, second, DEALS, times.calendar, until_cancelled)


def first_point(stream: FoldedStream[Deal]) -> AsOf:
    """The first point at which a deal was known: where its comparison starts by default."""
    points = change_points(stream)
    return AsOf(
        effective_on=next(iter(points.effective), None),
        published_on=next(iter(points.published), None),
    )


def changes_by_kind(comparison: Comparison[Deal]) -> dict[Kind, list[AttributedChange]]:
    """The changes by their kind, real-world changes first."""
    by_kind: dict[Kind, list[AttributedChange]] = {"world": [], "learned_late": [], "record": [], "source": []}
    for change in comparison.changes:
        by_kind[change.kind].append(change)
    return by_kind


def sections(
    by_kind: dict[Kind, list[tuple[Label, ChangeLine]]],
) -> dict[Kind | Literal["record_keeping"], list[tuple[Label, ChangeLine]]]:
    """The lines of a comparison by kind, with record keeping apart from corrections: it corrects nothing."""
    found: dict[Kind | Literal["record_keeping"], list[tuple[Label, ChangeLine]]] = {}
    for kind, lines in by_kind.items():
        found[kind] = [line for line in lines if line[0] != "record_keeping"]
        if kind == "record":
            found["record_keeping"] = [line for line in lines if line[0] == "record_keeping"]
    return found


def compared_lines(
    formatter: ValueFormatter, changes: Sequence[AttributedChange], names: Names
) -> list[tuple[Label, ChangeLine]]:
    """The changes of one kind as text, each with its label. A list of claims shows what was added or retracted."""
    lines: list[tuple[Label, ChangeLine]] = []
    by_label: dict[Label, list[AttributedChange]] = {}
    for change in changes:
        if not is_of_claims(change.path):
            by_label.setdefault(change.label, []).append(change)
    for label, alike in by_label.items():
        lines += [(label, line) for line in formatter.lines(alike, names)]
    for change in changes:
        if is_of_claims(change.path) and change.kind == "source":
            lines += claim_lines(formatter, change.before, change.after, names, change.causes)
    return lines


def claim_lines(
    formatter: ValueFormatter, before: Any, after: Any, names: Names, causes: tuple[UUID, ...] = ()
) -> list[tuple[Label, ChangeLine]]:
    """What was added to a list of claims or retracted in it, as text, each with its label."""
    lines: list[tuple[Label, ChangeLine]] = []
    for label, claim in claim_changes(before, after):
        value = formatter.change(claim.field, claim.value, names)
        before_text, after_text = (value, None) if label == "retracted" else (None, value)
        own = tuple(cause for cause in causes if cause == claim.event) if label != "retracted" else ()
        field = formatter.field(claim.field, names)
        lines.append((label, ChangeLine(field, claim.field, before_text, after_text, own or causes)))
    return lines


def is_of_claims(path: str) -> bool:
    """Whether a change is of a list of claims."""
    return path.endswith("/claims")
