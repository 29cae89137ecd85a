"""Property 39: a relation to a merged deal counts for the deal that it was merged into, in totals and in relations."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.totals import DealRow, RelationRow, Totals, TotalsQuery, compute_totals
from registry.events.types import DealsRelated
from tests.conftest import examples
from tests.domain.builders import usd
from tests.domain.portfolios import deal, interval, pledged, rules, total
from tests.domain.test_totals_properties import portfolios


def by_hand(row: DealRow, merged: str, into: DealRow) -> DealRow:
    """The deal with each relation to the merged deal declared to the other one instead, as an editor would do it."""
    names = {pledge.pledge for pledge in into.pledges}
    relations: list[RelationRow] = []
    for relation in row.relations:
        if relation.deal != merged:
            relations.append(relation)
            continue
        if relation.other_pledge in {None, *names}:
            other = relation.other_pledge
        elif relation.relation == "supersedes":
            continue
        else:
            other = None
        if (into.deal, other) != (row.deal, relation.pledge):
            relations.append(replace(relation, deal=into.deal, other_pledge=other))
    return replace(row, relations=tuple(relations))


def figures(totals: Totals) -> Any:
    """The totals, with the overall lines in order."""
    lines = sorted(totals.overall.lines, key=lambda line: (line.deal, line.pledge))
    return totals.overall.columns, totals.groups, lines


@settings(max_examples=examples(30), deadline=None)
@given(portfolios(), st.data(), st.sampled_from([None, "sector"]))
def test_39_merging_a_deal_and_redirecting_every_relation_by_hand_give_the_same_totals(
    rows: list[DealRow], data: st.DataObject, group_by: Any
) -> None:
    if len(rows) < 2:
        return
    into, merged = data.draw(st.permutations(rows))[:2]
    left = [row for row in rows if row is not merged]
    query = TotalsQuery(group_by=(group_by,) if group_by else ())
    redirected = compute_totals([by_hand(row, merged.deal, into) for row in left], query)
    assert figures(compute_totals(left, replace(query, merged={merged.deal: into.deal}))) == figures(redirected)
    # After the deal is unmerged its row counts again, and every relation counts for it.
    assert compute_totals(rows, replace(query, merged={})) == compute_totals(rows, query)


def test_39_part_of_a_merged_deal_is_part_of_the_deal_it_was_merged_into() -> None:
    a, b = deal("a", pledged(usd("100"))), deal("b", pledged(usd("100")))
    c = deal("c", pledged(usd("30")), DealsRelated(relation="part_of", deal="b"))
    assert interval(total([a, b, c]).overall, "USD") == (200, 200)
    assert interval(total([a, c]).overall, "USD") == (130, 130)
    merged = total([a, c], merged={"b": "a"}).overall
    assert interval(merged, "USD") == (100, 100)
    assert rules(merged)["c/total"] == "part_of"
    assert interval(total([a, c], merged={"b": "x", "x": "a"}).overall, "USD") == (100, 100)


def test_39_superseding_a_pledge_that_the_survivor_lacks_has_no_effect() -> None:
    a = deal("a", pledged(usd("100"), "total"))
    other = deal("c", pledged(usd("30")), DealsRelated(relation="supersedes", deal="b", other_pledge="old"))
    assert interval(total([a, other], merged={"b": "a"}).overall, "USD") == (130, 130)
    same = deal("c", pledged(usd("30")), DealsRelated(relation="supersedes", deal="b", other_pledge="total"))
    assert interval(total([a, same], merged={"b": "a"}).overall, "USD") == (30, 30)
