"""`registry show`, `list`, `history`, `provenance`, `compare`, `totals`: query the service at any point in time.

Prints tables on a terminal, JSON otherwise or with --json. Typer reads the options from the signatures, so each command
repeats those of the time axes.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from registry.cli import summaries
from registry.cli.client import Url, get
from registry.cli.headings import KINDS, heading
from registry.cli.options import AsJson
from registry.cli.texts import Text, rendered

AsTable = Annotated[bool, typer.Option("--table", help="Print tables, also without a terminal.")]
EffectiveOn = Annotated[
    str | None, typer.Option("--effective-on", help="Effective date (default: today in the registry's time zone).")
]
PublishedOn = Annotated[str | None, typer.Option("--published-on", help="As published by this date.")]
RecordedAt = Annotated[str | None, typer.Option("--recorded-at", help="As recorded by this time.")]
Position = Annotated[int | None, typer.Option("--position", help="Up to this position of the log.")]
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


def show(
    deal: Deal,
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    certificate: Certificate = False,
    url: Url = "",
    as_json: AsJson = False,
    as_table: AsTable = False,
) -> None:
    """Show a deal's state, now or at a point in time."""
    state = get(
        url,
        f"/v1/deals/{deal}",
        effective_on=effective_on,
        published_on=published_on,
        recorded_at=recorded_at,
        position=position,
        certificate=certificate or None,
    )
    if print_json(state, as_json or certificate, as_table and not certificate):
        return
    stage = state["stage"]
    rows = [
        ("deal", f"{summaries.localized(state['title'])} ({state['deal']})"),
        ("as of", state["effective_on"]),
        ("version", f"{state['version']}, position {state['position']}"),
        ("stage", summaries.stage_text(stage) if stage else None),
        *((axis, ", ".join(codes)) for axis, codes in (state["classifications"] or {}).items()),
        *(("party", summaries.party(p)) for p in state["parties"]),
        *((f"pledge {p['pledge']}", summaries.pledge(p)) for p in state["pledges"]),
        *((f"site {s['site']}", summaries.site(s)) for s in state["sites"]),
        *((f"milestone {m['milestone']}", summaries.milestone(m)) for m in state["milestones"]),
        *(("relation", summaries.relation(r)) for r in state["relations"]),
        *summaries.other_items(state),
        *(("warning", f["detail"]) for f in state["remarks"]["flags"]),
        *([("warning", rendered(Text("deal_undated")))] if state["remarks"]["undated"] else []),
    ]
    print_table(None, [{"field": field, "value": value} for field, value in rows])


def list_deals(
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    organization: Annotated[str | None, typer.Option(help="Only deals of this organization.")] = None,
    region: Annotated[str | None, typer.Option(help="Only deals with a site in this region (ISO 3166).")] = None,
    stage: Annotated[str | None, typer.Option(help="Only deals at this stage.")] = None,
    q: Annotated[
        str | None,
        typer.Option("--search", help="Only deals with these words in names, places, parties, sources or identifiers."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of deals.")] = 100,
    certificate: Certificate = False,
    url: Url = "",
    as_json: AsJson = False,
    as_table: AsTable = False,
) -> None:
    """List deals, now or at a point in time."""
    found = get(
        url,
        "/v1/deals",
        effective_on=effective_on,
        published_on=published_on,
        recorded_at=recorded_at,
        position=position,
        certificate=certificate or None,
        organization=organization,
        region=region,
        stage=stage,
        q=q,
        limit=limit,
    )
    if print_json(found, as_json or certificate, as_table and not certificate):
        return
    rows = [
        {
            "deal": d["deal"],
            "title": summaries.localized(d["title"]),
            "stage": d["stage"]["value"] if d.get("stage") else None,
            "where": ", ".join(d["places"]) or None,
            "pledged": "; ".join(summaries.amount(p["amount"]) for p in d["pledges"] if p["amount"]) or None,
        }
        for d in found["deals"]
    ]
    title = Text("list_title", count=len(rows), day=found["effective_on"], position=found["position"])
    print_table(rendered(title), rows)


def history(
    deal: Deal,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    url: Url = "",
    as_json: AsJson = False,
    as_table: AsTable = False,
) -> None:
    """List a deal's events: what each changed, who recorded it, when, why, and on which source."""
    path, known = f"/v1/deals/{deal}/events", {"published_on": published_on, "recorded_at": recorded_at}
    found = get(url, path, **known, position=position)
    while (last := found["events"][-1])["version"] < found["version"]:
        found["events"] += get(url, path, **known, position=found["position"], after=last["position"])["events"]
    if print_json(found, as_json, as_table):
        return
    rows = [
        {
            "position": e["position"],
            "effective": e["effective_on"],
            "published": e["published_on"],
            "event": e["type"],
            "changed": "; ".join(summaries.change(c) for c in e["changes"][:4])
            + (" …" if len(e["changes"]) > 4 else ""),
            "source": summaries.source(e["sources"]),
        }
        for e in found["events"]
    ]
    print_table(None, rows)


def provenance(
    deal: Deal,
    field: Annotated[
        str | None, typer.Argument(help="Only this field and the fields below it, such as /pledges/total.")
    ] = None,
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    url: Url = "",
    as_json: AsJson = False,
    as_table: AsTable = False,
) -> None:
    """Show which event and source set each field."""
    path, point = f"/v1/deals/{deal}/blame", {"effective_on": effective_on, "published_on": published_on}
    found = page = get(url, path, **point, recorded_at=recorded_at, position=position)
    while page["next"] is not None:
        page = get(url, path, **point, recorded_at=recorded_at, position=position, cursor=page["next"])
        found["fields"] += page["fields"]
    found["next"] = None
    below = f"{(field or '').rstrip('/')}/"
    found["fields"] = [f for f in found["fields"] if f"{f['field']}/".startswith(below)]
    if print_json(found, as_json, as_table):
        return
    rows = [
        {
            "field": f["field"],
            "value": summaries.short(f["value"]),
            "before": summaries.short(f["before"]),
            "set by": f["type"],
            "published": f["published_on"],
            "source": summaries.source(f["sources"]),
        }
        for f in found["fields"]
    ]
    print_table(None, rows)


def compare(
    deal: Deal,
    from_effective_on: Annotated[str | None, typer.Option("--from-effective-on")] = None,
    from_published_on: Annotated[str | None, typer.Option("--from-published-on")] = None,
    from_recorded_at: Annotated[str | None, typer.Option("--from-recorded-at")] = None,
    from_position: Annotated[int | None, typer.Option("--from-position")] = None,
    to_effective_on: Annotated[str | None, typer.Option("--to-effective-on")] = None,
    to_published_on: Annotated[str | None, typer.Option("--to-published-on")] = None,
    to_recorded_at: Annotated[str | None, typer.Option("--to-recorded-at")] = None,
    to_position: Annotated[int | None, typer.Option("--to-position")] = None,
    url: Url = "",
    as_json: AsJson = False,
    as_table: AsTable = False,
) -> None:
    """Compare two points in time: real-world changes, data corrections, source changes, late information."""
    found = get(
        url,
        f"/v1/deals/{deal}/compare",
        **{
            "from.effective_on": from_effective_on,
            "from.published_on": from_published_on,
            "from.recorded_at": from_recorded_at,
            "from.position": from_position,
            "to.effective_on": to_effective_on,
            "to.published_on": to_published_on,
            "to.recorded_at": to_recorded_at,
            "to.position": to_position,
        },
    )
    if print_json(found, as_json, as_table):
        return
    rows = [
        {
            "kind": rendered(KINDS[kind]),
            "field": c["field"],
            "before": summaries.short(c["before"]),
            "after": summaries.short(c["after"]),
        }
        for kind in KINDS
        for c in found[kind]
    ]
    print_table(None, rows)


def totals(
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    currency: Annotated[str | None, typer.Option(help="Convert to this currency at recorded rates.")] = None,
    measure: Annotated[str | None, typer.Option(help="amount (default), power_mw, gpus, jobs, …")] = None,
    estimates: Annotated[str | None, typer.Option(help="include (default) or exclude estimated amounts.")] = None,
    group_by: Annotated[str | None, typer.Option(help="organization, country, region, sector, stage, …")] = None,
    region: Annotated[str | None, typer.Option(help="Only deals with a site in this region (ISO 3166).")] = None,
    certificate: Certificate = False,
    url: Url = "",
    as_json: AsJson = False,
    as_table: AsTable = False,
) -> None:
    """Total amounts or another measure: the lower bound excludes possible double counting, the upper includes it."""
    found = get(
        url,
        "/v1/totals",
        effective_on=effective_on,
        published_on=published_on,
        recorded_at=recorded_at,
        position=position,
        certificate=certificate or None,
        measure=measure,
        estimates=estimates,
        currency=currency,
        group_by=group_by,
        region=region,
    )
    if print_json(found, as_json or certificate, as_table and not certificate):
        return
    groups = found["totals"]["groups"] if group_by else [found["totals"]["overall"]]
    rows = [
        {
            **({group_by: group["key"]} if group_by else {}),
            "nature": column["nature"] + (" a year" if column["basis"] == "annual" else ""),
            "from": f"{column['currency'] or column['unit'] or measure} {summaries.thousands(column['low'])}",
            "to": f"{summaries.thousands(column['high'])}" + (" or more" if column["high_open"] else ""),
            "pledges": column["pledges"],
        }
        for group in groups
        for column in group["columns"]
    ]
    print_table(rendered(Text("totals_title", day=found["effective_on"], position=found["position"])), rows)


def print_json(found: Any, as_json: bool, as_table: bool) -> bool:
    """Print JSON unless a table is wanted; whether it was printed."""
    if as_table or (sys.stdout.isatty() and not as_json):
        return False
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    return True


def print_table(title: str | None, rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if title:
        console.print(title, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(heading(column), overflow="fold")
    for row in rows:
        table.add_row(*("–" if value is None else escape(str(value)) for value in row.values()))
    console.print(table)
