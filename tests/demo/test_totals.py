"""The demo's totals for Korea equal those that docs/totals.md calculates by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from registry.domain.checks.plausibility import FlagContext, state_flags
from registry.domain.totals import DealRow, Group, Rule, TotalsLine, TotalsQuery, compute_totals, row_of
from registry.domain.totals.overlap import Relations
from registry.events.currencies import Currency
from tests.demo.loader import deal, deal_as_of, histories
from tests.reference_rates import reference_rates

DOCUMENT = (Path(__file__).parents[2] / "docs" / "totals.md").read_text("utf-8")


def rows(day: str) -> list[DealRow]:
    return [row_of(state) for slug in histories() if (state := deal_as_of(slug, day).state) is not None]


def korea(day: str, currency: Currency | None = None) -> Group:
    all_rows = rows(day)
    in_korea = [row for row in all_rows if any(place.startswith("KR") for place in row.places)]
    others = [row for row in all_rows if row not in in_korea]
    query = TotalsQuery(currency=currency, effective_on=date.fromisoformat(day))
    return compute_totals(in_korea, query, reference_rates(), others).overall


def columns(group: Group) -> dict[tuple[str | None, str, str | None], tuple[str, str]]:
    return {(c.currency, c.nature, c.basis): (c.low, c.high) for c in group.columns}


def document_row(line: TotalsLine, currency: Currency | None) -> str:
    assert line.stated is not None
    assert line.stated.value is not None
    name = f"`{line.deal}/{line.pledge}`"
    cells = [name, f"{line.stated.currency} {Decimal(line.stated.value):,}"]
    places = 0 if currency is None else 2
    if currency is not None:
        rate = line.rate
        cells.append(f"{rate.from_per_eur} → {rate.to_per_eur} ({rate.day})" if rate else "–")
    cells += [f"{Decimal(line.low):,.{places}f}", f"{Decimal(line.high):,.{places}f}", line.rule]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("currency", [None, "USD"])
def test_document_lists_each_pledge_in_korea_as_counted(currency: Currency | None) -> None:
    lines = [line for line in korea("2025-12-31", currency).lines if line.stated is not None]
    written = DOCUMENT.splitlines()
    assert [document_row(line, currency) for line in lines if document_row(line, currency) not in written] == []
    assert len(lines) == 10


def test_totals_of_korea_equal_the_hand_calculation() -> None:
    assert columns(korea("2025-12-31")) == {
        ("KRW", "commitment", "annual"): ("100000000000", "100000000000"),
        ("KRW", "commitment", "once"): ("17250000000000", "17250000000000"),
        ("KRW", "intention", "once"): ("20000000000000", "20000000000000"),
        ("USD", "commitment", "once"): ("9000000000", "14000000000"),
    }
    assert columns(korea("2025-12-31", "USD")) == {
        ("USD", "commitment", "annual"): ("70276734.27", "70276734.27"),
        ("USD", "commitment", "once"): ("21754256606.5", "26935769627.09"),
        ("USD", "intention", "once"): ("14055346853.97", "14055346853.97"),
    }
    for figure in ("17,250,000,000,000", "14,000,000,000", "21,754,256,606.50", "26,935,769,627.09", "70,276,734.27"):
        assert f"**{figure}**" in DOCUMENT


def test_totals_of_korea_in_june_2025() -> None:
    """In June 2025 only Ulsan, the AWS programme to 2027, and Microsoft with KT were announced."""
    assert columns(korea("2025-06-23")) == {("KRW", "commitment", "once"): ("17250000000000", "17250000000000")}
    before = columns(korea("2025-06-17"))
    assert before[("USD", "commitment", "once")] == ("5100000000", "5100000000")
    assert before[("KRW", "commitment", "once")] == ("10250000000000", "10250000000000")


def test_worldwide_programme_and_its_possible_parts_overlap() -> None:
    overall = compute_totals(rows("2025-12-31"), TotalsQuery(currency="USD"), reference_rates()).overall
    rules = {f"{line.deal}/{line.pledge}": line.rule for line in overall.lines}
    assert rules["aws-apec-2028/total"] == "counted"
    assert {n for n, rule in rules.items() if rule == "overlaps"} == {"aws-korea-2027/programme", "sk-aws-ulsan/total"}
    # It may overlap too; in the upper bound, where overlaps count, its members replace it.
    assert rules["seven-firms-korea-2030/total"] == "outweighed"
    (result,) = [c for c in overall.columns if (c.nature, c.basis) == ("commitment", "once")]
    assert result.high_open, "the source says more than 40bn"


def test_amkor_figure_of_the_article_is_flagged() -> None:
    neighbours = tuple(deal(slug) for slug in ("seven-firms-korea-2030", "aws-korea-2031"))
    (flag,) = state_flags(deal("amkor-songdo"), FlagContext(reference_rates(), (), neighbours))
    assert flag.rule == "member-not-below-aggregate"
    assert set(flag.figures) == {"amkor-songdo/packaging", "seven-firms-korea-2030/total"}
    assert flag.events


def test_document_explains_every_rule() -> None:
    assert [rule for rule in Rule if f"`{rule}`" not in DOCUMENT] == []


def test_demo_relations_have_no_cycles() -> None:
    relations = Relations()
    every = rows("2025-12-31")
    for row in every:
        relations.add_pledges(row.deal, (p.pledge for p in row.pledges))
        for r in row.relations:
            relations.declare(r.relation, (row.deal, r.pledge), (r.deal, r.other_pledge), r.source)
    for row in every:
        for p in row.pledges:
            key = (row.deal, p.pledge)
            assert all(key not in relations.containers(whole) for whole in relations.containers(key))
