"""The panel at the end of a page: how to cite it, prove it, download it, follow it and embed its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from registry.domain.history import AsOf
from registry.formatting.language import N_
from registry.http.responses import base_url
from registry.i18n import Message
from registry.queries.deal_conditions import CONDITIONS
from registry.schemas.deal_query import DealListQuery
from registry.standards.citation import Citation, point_of, points_of
from registry.web.page.as_of import as_parameters
from registry.web.page.request import PageRequest

NOT_CITED = ("lang", "recorded", "effective_on", "published_on", "recorded_at", "position")
"""Parameters of a page that are not in its permanent link, or have another value there."""


CHART_PARAMETERS = (*DealListQuery.__struct_fields__, "unit", "scope")
"""Parameters of a page that its charts have, beside the point in time."""


class CitedProof(Struct, frozen=True):
    """A bundle that `registry verify` checks offline: what it is (a page string), and its address."""

    name: str
    url: str


class ChartLinks(Struct, frozen=True):
    """A chart of a page: its name (a page string), its address as SVG, and that of a page to embed."""

    name: str
    svg: str
    embed: str

    def embed_code(self, title: str) -> str:
        """The HTML that embeds the chart in a page of another site."""
        return (
            f'<iframe src="{escape(self.embed)}" title="{escape(title)}" loading="lazy" width="100%" height="420">'
            "</iframe>"
        )


class CitePanel(Struct, frozen=True):
    """What the panel shows.

    Attributes:
        citation: The citation, with the permanent link.
        is_fixed: Whether the link always shows the same content; else it also shows later corrections.
        proofs: The bundles that prove what the page shows.
        feed: The address of the page's feed.
        charts: The page's charts.
    """

    citation: Citation
    is_fixed: bool
    proofs: Sequence[CitedProof]
    feed: str
    charts: Sequence[ChartLinks]

    @property
    def bibtex_url(self) -> str:
        """The citation as a file of BibTeX."""
        return _data_url("application/x-bibtex", self.citation.bibtex)

    @property
    def csl(self) -> str:
        """The citation as CSL-JSON."""
        return msgspec.json.format(msgspec.json.encode([self.citation.csl]), indent=2).decode()

    @property
    def csl_url(self) -> str:
        """The citation as a file of CSL-JSON."""
        return _data_url("application/vnd.citationstyles.csl+json", self.csl)


class _CitedPoint(Struct, frozen=True):
    """What a page shows: its log position, the point in words, and the points that its address states, by prefix."""

    position: int
    text: Message
    parameters: Mapping[str, AsOf]


def cite(
    page: PageRequest,
    title: str,
    position: int,
    *,
    is_list: bool = False,
    proofs: Sequence[CitedProof] = (),
    feed: Mapping[str, str] | None = None,
    charts: Sequence[ChartLinks] = (),
    path: str | None = None,
    filters: Mapping[str, str] | None = None,
) -> CitePanel:
    """The panel of a page that shows one as-of point.

    Args:
        page: The request.
        title: What the page shows.
        position: The log position of what it shows.
        is_list: Whether it takes one axis of knowledge only.
        proofs: The bundles that prove what it shows.
        feed: The filters of its feed.
        charts: Its charts.
        path: The path of the page that it belongs to, if not its own.
        filters: The filters that it has, also those that its address does not name.
    """
    shown = position if page.as_of.recorded_at is not None else _position(page, page.as_of)
    fixed = _fixed(page, page.as_of, shown, is_list=is_list)
    point = _CitedPoint(shown, point_of(page.as_of, page.times.effective_on), {"": fixed})
    panel = _panel(page, title, point, proofs, feed, charts, filters or {})
    if path is None:
        return panel
    url = panel.citation.url.replace(page.path, path, 1)
    return msgspec.structs.replace(panel, citation=msgspec.structs.replace(panel.citation, url=url))


def cite_comparison(
    page: PageRequest,
    title: str,
    position: int,
    start: AsOf,
    end: AsOf,
    *,
    is_list: bool = False,
    feed: Mapping[str, str] | None = None,
    certified: Mapping[str, str | None] | None = None,
) -> CitePanel:
    """The panel of a page that compares two as-of points; `certified` are the filters of a comparison of all deals."""
    today, points = page.times.today, (("from.", start), ("to.", end))
    dated = ((prefix, msgspec.structs.replace(one, effective_on=one.effective_on or today)) for prefix, one in points)
    fixed = {prefix: _fixed(page, one, _position(page, one), is_list=is_list) for prefix, one in dated}
    proofs = _comparison_certificate(certified, fixed) if certified is not None else []
    return _panel(page, title, _CitedPoint(position, points_of(start, end, today), fixed), proofs, feed, (), {})


def _comparison_certificate(filters: Mapping[str, str | None], fixed: Mapping[str, AsOf]) -> list[CitedProof]:
    given = {name: value for name, value in filters.items() if value}
    if not given.keys() <= CONDITIONS.keys():
        return []
    points = {name: value for prefix, one in fixed.items() for name, value in as_parameters(one, prefix).items()}
    query = urlencode({**given, **points, "certificate": "true"})
    return [CitedProof(N_("Certificate of this comparison"), f"/v1/compare?{query}")]


def fixed_point(page: PageRequest, *, is_list: bool = False) -> dict[str, str]:
    """The as-of point of a page as query parameters that show the same later on, where the axes allow it."""
    return as_parameters(_fixed(page, page.as_of, _position(page, page.as_of), is_list=is_list), "")


def deal_certificate(page: PageRequest, deal: str) -> CitedProof:
    """The certificate of a deal at a page's as-of point."""
    query = urlencode({**fixed_point(page), "certificate": "true"})
    return CitedProof(N_("Certificate of this state"), f"/v1/deals/{deal}?{query}")


def list_certificate(page: PageRequest, filters: Mapping[str, str | None]) -> list[CitedProof]:
    """The certificate of a list of deals, if one with these filters can be certified."""
    given = {name: value for name, value in filters.items() if value}
    if not given.keys() <= CONDITIONS.keys():
        return []
    query = urlencode({**given, **fixed_point(page, is_list=True), "certificate": "true"})
    return [CitedProof(N_("Certificate of this list"), f"/v1/deals?{query}")]


def totals_certificate(page: PageRequest, parameters: Mapping[str, str | None]) -> list[CitedProof]:
    """The certificate of a total, if a total with these parameters can be certified."""
    given = {name: value for name, value in parameters.items() if value}
    if not given.keys() & set(DealListQuery.__struct_fields__) <= CONDITIONS.keys():
        return []
    query = urlencode({**given, **fixed_point(page, is_list=True), "certificate": "true"})
    return [CitedProof(N_("Certificate of this total"), f"/v1/totals?{query}")]


def trend_links(page: PageRequest) -> ChartLinks:
    """The overview's chart by itself."""
    return _chart(page, N_("Amounts over time"), "/charts/trend.svg", "/embed/trend", is_list=True)


def timeline_links(page: PageRequest, deal: str) -> ChartLinks:
    """A deal's timeline by itself."""
    return _chart(page, N_("Timeline"), f"/charts/deals/{deal}/timeline.svg", f"/embed/deals/{deal}", is_list=False)


def _chart(page: PageRequest, name: str, svg: str, embed: str, *, is_list: bool) -> ChartLinks:
    """A chart as a file keeps the page's point in time; an embedded one keeps it if the page's address states it."""
    kept = {name: value for name, value in page.query.items() if name in CHART_PARAMETERS}
    language = {"lang": page.language}
    fixed = urlencode({**kept, **fixed_point(page, is_list=is_list), **language})
    shown = urlencode({**kept, **page.times.query(), **language})
    return ChartLinks(name, f"{svg}?{fixed}", f"{base_url(page.request)}{embed}?{shown}")


def _position(page: PageRequest, as_of: AsOf) -> int:
    """The log position of a point, without its recorded time: the log may not have reached the one in the address."""
    return page.position if as_of.position is None else min(as_of.position, page.position)


def _fixed(page: PageRequest, as_of: AsOf, position: int, *, is_list: bool) -> AsOf:
    """A point with its day and its log position. A list by publication date has no position."""
    day = as_of.effective_on or page.times.effective_on
    if is_list and as_of.published_on is not None:
        return msgspec.structs.replace(as_of, effective_on=day)
    return msgspec.structs.replace(as_of, effective_on=day, position=position)


def _panel(
    page: PageRequest,
    title: str,
    point: _CitedPoint,
    proofs: Sequence[CitedProof],
    feed: Mapping[str, str] | None,
    charts: Sequence[ChartLinks],
    filters: Mapping[str, str],
) -> CitePanel:
    points = point.parameters
    fixed = {name: value for prefix, one in points.items() for name, value in as_parameters(one, prefix).items()}
    kept = {name: value for name, value in page.query.items() if name not in (*NOT_CITED, *fixed)}
    is_past = page.as_of.position not in (None, page.position) or page.as_of.recorded_at is not None
    citation = Citation(
        title=title,
        origin=page.origin,
        point=point.text,
        position=point.position,
        on=None if is_past or page.recorded_at is None else page.times.calendar.day_of(page.recorded_at),
        url=f"{base_url(page.request)}{page.path}?{urlencode({**filters, **kept, **fixed})}",
        licence=page.licence,
        language=page.language,
    )
    is_fixed = all(one.position is not None for one in points.values())
    feed_url = f"/v1/events.atom{f'?{urlencode(feed)}' if feed else ''}"
    return CitePanel(citation, is_fixed, proofs, feed_url, charts)


def _data_url(media_type: str, text: str) -> str:
    # Not in base64: percent-encoded text is compressed with the same text above it.
    return f"data:{media_type};charset=utf-8,{quote(text)}"
