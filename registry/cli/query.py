"""`registry show`, `list`, `history`, `provenance`, `compare`, `totals`: query the service at any point in time."""

from __future__ import annotations

from typing import Annotated

import typer

from registry.cli import summaries
from registry.cli.asking import (
    COMPARED_POINTS,
    FILTERS,
    FILTERS_OF_TOTALS,
    POINT,
    Question,
    asking,
    print_table,
    with_filters,
)
from registry.cli.client import find, segment
from registry.cli.texts import Text, rendered
from registry.schemas.deal_query import CODE_FILTERS

Certificate = Annotated[
    bool, typer.Option("--certificate", help="Write a bundle that 'registry verify' checks offline, as JSON.")
]
Deal = Annotated[str, typer.Argument(help="The deal's slug, such as sk-aws-ulsan.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(show)
    app.command("list")(list_deals)
    app.command()(history)
    app.command()(provenance)
    app.command("blame", hidden=True)(provenance)
    app.command()(compare)
    app.command()(totals)


@asking(*POINT)
def show(question: Question, deal: Deal, certificate: Certificate = False) -> None:
    """Show a deal's state, now or at a point in time."""
    state = question.get(f"/v1/deals/{segment(deal)}", certificate=certificate or None)
    if question.print_json(state, always=certificate):
        return
    heading = rendered(Text("row_warning"))
    titles = question.titles(summaries.related_deals([*state["relations"], *state["pledges"]], state["deal"]))
    rows = [
        (summaries.label("field", "deal"), f"{summaries.localized(state['title'])} ({state['deal']})"),
        (rendered(Text("row_as_of")), state["effective_on"]),
        (
            rendered(Text("row_version")),
            rendered(Text("version_at", version=state["version"], position=state["position"])),
        ),
        (summaries.label("field", "stage"), summaries.stage(state["stage"])),
        *summaries.fields(state, (*CODE_FILTERS.values(), "classifications", "summary", "partnerships")),
        *summaries.items(state, titles),
        *((heading, summaries.warning(flag, titles)) for flag in state["remarks"]["flags"]),
        *([(heading, rendered(Text("deal_undated")))] if state["remarks"]["undated"] else []),
    ]
    print_table(None, [{"field": field, "value": value} for field, value in rows if value is not None])


@asking(*POINT)
@with_filters(*FILTERS)
def list_deals(
    question: Question,
    filters: dict[str, str],
    limit: Annotated[int, typer.Option(help="Maximum number of deals.")] = 100,
    certificate: Certificate = False,
) -> None:
    """List deals, now or at a point in time."""
    found = question.get("/v1/deals", **filters, limit=limit, certificate=certificate or None)
    if question.print_json(found, always=certificate):
        return
    rows = [
        {
            "deal": d["deal"],
            "title": summaries.localized(d["title"]),
            "stage": summaries.label("stage", d["stage"]["value"]) if d.get("stage") else None,
            "where": ", ".join(map(summaries.place, d["places"])) or None,
            "pledged": "; ".join(summaries.amount(p["amount"], p["amount_basis"]) for p in d["pledges"] if p["amount"])
            or None,
        }
        for d in found["deals"]
    ]
    title = Text("list_title", count=len(rows), day=found["effective_on"], position=found["position"])
    print_table(rendered(title), rows)


@asking("published_on", "recorded_at", "position")
def history(question: Question, deal: Deal) -> None:
    """List a deal's events: what each changed, who recorded it, when, why, and from which source."""
    path = f"/v1/deals/{segment(deal)}/events"
    found = question.get(path)
    while (last := found["events"][-1])["version"] < found["version"]:
        found["events"] += question.get(path, position=found["position"], after=last["position"])["events"]
    if question.print_json(found):
        return
    changes = [c for e in found["events"] for c in e["changes"]]
    names = summaries.names_in_changes(changes, deal) | question.titles(summaries.related_deals(changes, deal))
    rows = [
        {
            "position": e["position"],
            "effective": e["effective_on"],
            "published": e["published_on"],
            "event": summaries.label("event", e["type"]),
            "kind": summaries.label("what", e["label"]),
            "changed": summaries.changed(e, names),
            "source": summaries.source(e["sources"]),
        }
        for e in found["events"]
    ]
    print_table(None, rows)


@asking(*POINT)
def provenance(
    question: Question,
    deal: Deal,
    field: Annotated[
        str | None, typer.Argument(help="Only this field and the fields below it, such as /pledges/total.")
    ] = None,
) -> None:
    """Show which event and source set each field."""
    path = f"/v1/deals/{segment(deal)}/blame"
    found = page = question.get(path)
    while page["next"] is not None:
        page = question.get(path, cursor=page["next"])
        found["fields"] += page["fields"]
    found["next"] = None
    names = summaries.names_in_changes(found["fields"], deal)
    below = f"{(field or '').rstrip('/')}/"
    found["fields"] = [f for f in found["fields"] if f"{f['field']}/".startswith(below)]
    if question.print_json(found):
        return
    names |= question.titles(summaries.related_deals(found["fields"], deal))
    rows = [
        {
            "field": f["field"],
            "value": summaries.value(f["field"], f["value"], names),
            "before": summaries.value(f["field"], f["before"], names),
            "set by": summaries.label("event", f["type"]),
            "published": f["published_on"],
            "source": summaries.source(f["sources"]),
        }
        for f in found["fields"]
    ]
    print_table(None, rows)


@asking(*COMPARED_POINTS)
@with_filters(*FILTERS)
def compare(
    question: Question,
    filters: dict[str, str],
    deal: Annotated[str | None, typer.Argument(help="The deal's slug; without it, all deals are compared.")] = None,
    certificate: Certificate = False,
) -> None:
    """Compare two points in time: real-world changes, data corrections, source changes, late information.

    The filters and --certificate are for a comparison of all deals.
    """
    if deal is None:
        _compare_all(question, filters, certificate=certificate)
        return
    if certificate or filters:
        raise typer.BadParameter(rendered(Text("compare_all_only")))
    found = question.get(f"/v1/deals/{segment(deal)}/compare")
    if question.print_json(found):
        return
    kinds = ("world", "record", "source", "learned_late")
    changes = [change for kind in kinds for change in found[kind]]
    titles = question.titles(summaries.related_deals(changes, deal))
    state = find(question.url, f"/v1/deals/{segment(deal)}")
    names = summaries.names_in_changes(changes, deal) | titles
    names |= {} if state is None else summaries.names_of(state, titles)
    rows = [
        {
            "kind": summaries.label("change", kind) if label in (kind, "corrected") else summaries.label("what", label),
            "field": field,
            "before": before,
            "after": after,
        }
        for kind in kinds
        for label, field, before, after in summaries.changes(found[kind], names)
    ]
    print_table(None, rows)


def _compare_all(question: Question, filters: dict[str, str], *, certificate: bool) -> None:
    """What changed in all deals between two points; a certificate has all of it, a table the first page."""
    found = question.get("/v1/compare", **filters, certificate=certificate or None)
    if question.print_json(found, always=certificate):
        return
    rows = [
        {
            "deal": f"{summaries.localized(c['title'])} ({c['deal']})",
            "kind": summaries.label("what", c["what"]),
            "field": summaries.field(c["field"]),
            "before": summaries.value(c["field"], c["before"]),
            "after": summaries.value(c["field"], c["after"]),
        }
        for c in found["changes"]
    ]
    print_table(rendered(Text("compare_more")) if found["next"] else None, rows)


@asking(*POINT)
@with_filters(*FILTERS_OF_TOTALS)
def totals(
    question: Question,
    filters: dict[str, str],
    currency: Annotated[str | None, typer.Option(help="Convert to this currency at recorded rates.")] = None,
    measure: Annotated[str | None, typer.Option(help="amount (default), power_mw, gpus, jobs, …")] = None,
    estimates: Annotated[str | None, typer.Option(help="include (default) or exclude estimated amounts.")] = None,
    group_by: Annotated[str | None, typer.Option(help="organization, country, region, sector, stage, …")] = None,
    certificate: Certificate = False,
) -> None:
    """Add up amounts or another measure. The lower bound excludes possible double counting, the upper includes it."""
    found = question.get(
        "/v1/totals",
        certificate=certificate or None,
        measure=measure,
        estimates=estimates,
        currency=currency,
        group_by=group_by,
        **filters,
    )
    if question.print_json(found, always=certificate):
        return
    groups = found["totals"]["groups"] if group_by else [found["totals"]["overall"]]
    rows = [
        {
            **({group_by: summaries.group(group_by, group["key"])} if group_by else {}),
            "nature": summaries.nature(column, measure),
            "from": summaries.bound(column, "low", measure),
            "to": summaries.bound(column, "high", measure),
            "pledges": column["pledges"],
        }
        for group in groups
        for column in group["columns"]
    ]
    print_table(rendered(Text("totals_title", day=found["effective_on"], position=found["position"])), rows)
