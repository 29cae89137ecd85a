"""The questions about all deals that the benchmark asks, and the bounds of what they may cost.

A question has the same figure in SQL for DuckDB over exported Parquet (`peer.py`), or is compared with GET of a deal.
"""

from __future__ import annotations

from msgspec import Struct

from bench import peer, workload


class Question(Struct, frozen=True):
    """A question: its title and path, the same in SQL (None: compared with GET of a deal), and its bounds."""

    title: str
    path: str
    sql: str | None
    must: float
    aim: float


def questions(position: int) -> dict[str, tuple[Question, ...]]:
    """The questions in groups.

    Args:
        position: The log's last position.
    """
    past, day = max(1, position * 4 // 5), "2022-06-01"
    then = f"position={past}&effective_on={day}"

    def totals(name: str, query: str, sql: str) -> Question:
        return Question(name, f"/v1/totals?lines=0{query}", sql, 5, 1.5)

    def page(name: str, query: str) -> Question:
        return Question(name, f"/v1/deals?{query}", None, 10, 3)

    def found(name: str, words: str) -> Question:
        return Question(name, f"/v1/search?q={words}", None, 10, 3)

    sectors = peer.totals_by("sector", "unnest(string_split(sectors, '; ')) AS sector")
    return {
        "totals": (
            totals("totals", "", peer.TOTALS),
            totals("totals by organization", "&group_by=organization", peer.totals_by('"by"')),
            totals(
                "totals by region",
                "&group_by=region",
                peer.totals_by("region", "unnest(string_split(places, '; ')) AS region"),
            ),
            totals("totals by sector", "&group_by=sector", sectors),
            totals(
                "totals by classification",
                "&group_by=classification:industry",
                peer.totals_by("classifications", "classifications"),
            ),
            totals("totals by stage", "&group_by=stage", peer.totals_by("stage")),
            totals("totals by year", "&group_by=year", peer.totals_by("year(announced_on::DATE)")),
            totals("totals, converted", "&currency=KRW", peer.CONVERTED),
            totals("totals of a region", "&region=KR-31", peer.totals_by("currency", "places")),
            totals("totals by organization in the past", f"&group_by=organization&{then}", peer.past_totals(past, day)),
        ),
        "lists": (
            Question("facets", "/v1/deals?limit=1&facets=true", peer.FACETS, 5, 1.5),
            Question(
                "facets in the past", f"/v1/deals?limit=1&facets=true&{then}", peer.past_facets(past, day), 5, 1.5
            ),
            page("a page by slug", "limit=50"),
            page("a page by amount", "sort=-amount"),
            page("a page by date of announcement", "sort=announced_on"),
            page("a page by title", "sort=title"),
            page("a page by the latest change", "sort=-updated"),
            page("a page by amount, filtered", "sort=-amount&region=KR-31&sector=energy"),
            page("a page by amount, filtered, in the past", f"sort=-amount&region=KR-31&{then}"),
            page("a page by the latest change in the past", f"sort=-updated&{then}"),
            page("a search in English, common", "q=synthetic"),
            page("a search in English, rare", "q=deal 77777"),
            page("a search in Korean, common", "q=가상"),
            page("a search in Korean, rare", "q=투자 77777"),
            found("a search for everything, in English, common", "synthetic"),
            found("a search for everything, in English, rare", "deal 77777"),
            found("a search for everything, in Korean, common", "가상"),
            found("a search for everything, in Korean, rare", "투자 77777"),
        ),
        "changes": (
            Question("portfolio page", "/", None, 50, 15),
            Question("portfolio page of a day in the past", f"/?effective_on={day}", None, 50, 15),
            Question("organization page, 2,000 deals", f"/organizations/{workload.LARGE_ORGANIZATION}", None, 20, 5),
            Question(
                "comparison of two days a year apart, first page with totals",
                "/v1/compare?from.effective_on=2021-06-01&to.effective_on=2022-06-01",
                peer.difference(position, "2021-06-01", "2022-06-01"),
                5,
                2,
            ),
            Question(
                "comparison of the last 1,000 positions, first page with totals",
                f"/v1/compare?from.position={max(1, position - 1000)}",
                None,
                20,
                5,
            ),
        ),
        "cliffs": (
            page("a page of a sector that many deals once had and none has now", f"sector={workload.FORMER_SECTOR}"),
            page("a search for a title that many deals once had and none has now", "q=former deal"),
            page("a page of the log as it was before its first event", "recorded_at=2000-01-01T00:00:00Z"),
            page("a search that fits every deal, by amount", "q=deal&sort=-amount"),
            page(
                "a page with every filter", "q=deal&kind=investment&region=KR&currency=USD&amount_min=1&sort=-updated"
            ),
        ),
    }
