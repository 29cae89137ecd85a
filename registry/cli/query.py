"""`registry show`, `list`, `history`, `provenance`, `compare`, `totals`: query the service at any point in time.

Prints tables on a terminal, JSON otherwise or with --json. Typer reads the options from the signatures, so each command
repeats those of the time axes; hence the length.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from registry.cli.client import Url, get
from registry.cli.headings import KINDS, heading
from registry.cli.options import AsJson
from registry.cli.texts import Text, rendered
from registry.domain.deal import Deal as DealState
from registry.domain.items import item_types
from registry.events.values import text_in

AsTable = Annotated[bool, typer.Option("--table", help="Print tables, also without a terminal.")]
EffectiveOn = Annotated[
    str | None, typer.Option("--effective-on", help="Effective date (default: today in the registry's time zone).")
]
PublishedOn = Annotated[str | None, typer.Option("--published-on", help="As published by this date.")]
RecordedAt = Annotated[str | None, typer.Option("--recorded-at", help="As recorded by this time.")]
Position = Annotated[int | None, typer.Option("--position", help="Up to this position of the log.")]
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
    )
    if _json(state, as_json, as_table):
        return
    stage = state["stage"]
    rows = [
        ("deal", f"{localized(state['title'])} ({state['deal']})"),
        ("as of", state["effective_on"]),
        ("version", f"{state['version']}, position {state['position']}"),
        ("stage", stage_text(stage) if stage else None),
        *((axis, ", ".join(codes)) for axis, codes in (state["classifications"] or {}).items()),
        *(("party", party(p)) for p in state["parties"]),
        *((f"pledge {p['pledge']}", pledge(p)) for p in state["pledges"]),
        *((f"site {s['site']}", site(s)) for s in state["sites"]),
        *((f"milestone {m['milestone']}", milestone(m)) for m in state["milestones"]),
        *(("relation", relation(r)) for r in state["relations"]),
        *other_items(state),
        *(("warning", f["detail"]) for f in state["remarks"]["flags"]),
        *([("warning", rendered(Text("deal_undated")))] if state["remarks"]["undated"] else []),
    ]
    _table(None, [{"field": field, "value": value} for field, value in rows])


def list_deals(
    effective_on: EffectiveOn = None,
    published_on: PublishedOn = None,
    recorded_at: RecordedAt = None,
    position: Position = None,
    organization: Annotated[str | None, typer.Option(help="Only deals of this organization.")] = None,
    region: Annotated[str | None, typer.Option(help="Only deals with a site in this region (ISO 3166).")] = None,
    stage: Annotated[str | None, typer.Option(help="Only deals at this stage.")] = None,
    q: Annotated[str | None, typer.Option("--search", help="Only deals with this text in their title.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of deals.")] = 100,
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
        organization=organization,
        region=region,
        stage=stage,
        q=q,
        limit=limit,
    )
    if _json(found, as_json, as_table):
        return
    rows = [
        {
            "deal": d["deal"],
            "title": localized(d["title"]),
            "stage": d["stage"]["value"] if d.get("stage") else None,
            "where": ", ".join(d["places"]) or None,
            "pledged": "; ".join(amount(p["amount"]) for p in d["pledges"] if p["amount"]) or None,
        }
        for d in found["deals"]
    ]
    title = Text("list_title", count=len(rows), day=found["effective_on"], position=found["position"])
    _table(rendered(title), rows)


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
    found = get(url, f"/v1/deals/{deal}/events", published_on=published_on, recorded_at=recorded_at, position=position)
    if _json(found, as_json, as_table):
        return
    rows = [
        {
            "position": e["position"],
            "effective": e["effective_on"],
            "published": e["published_on"],
            "event": e["type"],
            "changed": "; ".join(change(c) for c in e["changes"][:4]) + (" …" if len(e["changes"]) > 4 else ""),
            "source": source(e["sources"]),
        }
        for e in found["events"]
    ]
    _table(None, rows)


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
    found = get(
        url,
        f"/v1/deals/{deal}/blame",
        effective_on=effective_on,
        published_on=published_on,
        recorded_at=recorded_at,
        position=position,
    )
    below = f"{(field or '').rstrip('/')}/"
    found["fields"] = [f for f in found["fields"] if f"{f['field']}/".startswith(below)]
    if _json(found, as_json, as_table):
        return
    rows = [
        {
            "field": f["field"],
            "value": short(f["value"]),
            "before": short(f["before"]),
            "set by": f["type"],
            "published": f["published_on"],
            "source": source(f["sources"]),
        }
        for f in found["fields"]
    ]
    _table(None, rows)


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
    if _json(found, as_json, as_table):
        return
    rows = [
        {"kind": rendered(KINDS[kind]), "field": c["field"], "before": short(c["before"]), "after": short(c["after"])}
        for kind in KINDS
        for c in found[kind]
    ]
    _table(None, rows)


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
        measure=measure,
        estimates=estimates,
        currency=currency,
        group_by=group_by,
        region=region,
    )
    if _json(found, as_json, as_table):
        return
    groups = found["totals"]["groups"] if group_by else [found["totals"]["overall"]]
    rows = [
        {
            **({group_by: group["key"]} if group_by else {}),
            "nature": column["nature"] + (" a year" if column["basis"] == "annual" else ""),
            "from": f"{column['currency'] or column['unit'] or measure} {thousands(column['low'])}",
            "to": f"{thousands(column['high'])}" + (" or more" if column["high_open"] else ""),
            "pledges": column["pledges"],
        }
        for group in groups
        for column in group["columns"]
    ]
    _table(rendered(Text("totals_title", day=found["effective_on"], position=found["position"])), rows)


LISTS_WITH_OWN_ROWS = ("parties", "pledges", "sites", "milestones", "relations")
"""The lists of a deal that `show` prints in words of their own. It prints the fields of all others by name."""


def localized(names: dict[str, str | None] | None) -> str | None:
    """A text in English, else in another language."""
    return text_in(names, "en")


def thousands(figure: str) -> str:
    """A decimal with thousands separators."""
    whole, point, rest = figure.partition(".")
    return f"{int(whole):,}{point}{rest}"


def amount(stated: dict[str, Any] | None) -> str:
    """An amount as stated."""
    if stated is None:
        return "not disclosed"
    ends = [stated["value"]] if stated.get("value") else [e for e in (stated.get("low"), stated.get("high")) if e]
    figure = "–".join(thousands(end) for end in ends) or stated.get("wording") or ""
    qualifier = stated.get("qualifier")
    estimate = stated.get("figure") if stated.get("figure") != "stated" else None
    year = f"({stated['price_year']} prices)" if stated.get("price_year") else None
    return " ".join(
        w for w in (estimate, qualifier and qualifier.replace("_", " "), stated["currency"], figure, year) if w
    )


def stage_text(stage: dict[str, Any]) -> str:
    """A stage in one line. An observed one has no first day."""
    if stage["since"] is None:
        return " ".join(
            part for part in (stage["value"], "observed on", stage["observed_on"], stage["certainty"]) if part
        )
    return f"{stage['value']} since {stage['since']}, {stage['basis']}"


def party(stated: dict[str, Any]) -> str:
    """A party in one line."""
    share = f"{stated['share']} %" if stated["share"] else None
    name = localized(stated["name"]) or stated["organization"]
    return ", ".join(str(part) for part in (name, stated["role"], share, stated["certainty"]) if part)


def pledge(stated: dict[str, Any]) -> str:
    """A pledge in one line."""
    until = (stated["horizon"] or {}).get("until")
    also = [amount(other) for other in (stated["amount"] or {}).get("stated_as", ())]
    parts = [
        amount(stated["amount"]) + (f" ({', '.join(also)})" if also else ""),
        stated["amount_basis"],
        stated["commitment"],
        stated["status"] if stated["status"] != "announced" else None,
        f"by {until}" if until else None,
        f"from {' and '.join(stated['by'])}" if stated["by"] else None,
    ]
    return ", ".join(part for part in parts if part)


def site(stated: dict[str, Any]) -> str:
    """A site in one line."""
    parts = [
        localized(stated["name"]),
        *(stated["address"], stated["locality"], stated["district_code"]),
        stated["place"],
        f"{stated['power_mw']} MW" if stated["power_mw"] else None,
        f"{stated['gpus']:,} GPUs" if stated["gpus"] else None,
        stated["status"] if stated["status"] != "announced" else None,
    ]
    return ", ".join(part for part in parts if part) or "–"


def milestone(stated: dict[str, Any]) -> str:
    """A milestone in one line."""
    when = f"reached {stated['reached']}" if stated["reached"] else f"planned {stated['planned'] or 'without a date'}"
    capacity = f"{stated['power_mw']} MW" if stated["power_mw"] else None
    return ", ".join(part for part in (stated["kind"], when, capacity) if part)


def relation(stated: dict[str, Any]) -> str:
    """A relation in one line."""
    ours = stated["pledge"] or "this deal"
    theirs = stated["deal"] + (f"/{stated['other_pledge']}" if stated["other_pledge"] else "")
    return f"{ours} {stated['relation'].replace('_', ' ')} {theirs}"


def other_items(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The items of the lists without rows of their own: each by its id, with the fields that have a value."""
    for name, item_type in item_types(DealState).items():
        if name in LISTS_WITH_OWN_ROWS:
            continue
        id_field = item_type.id_fields[0]
        for item in state[name]:
            values = [(field, short(value)) for field, value in item.items() if field != id_field and value is not None]
            yield f"{id_field} {item[id_field]}", ", ".join(f"{field.replace('_', ' ')} {v}" for field, v in values)


def source(sources: list[dict[str, Any]]) -> str | None:
    """The publishers of the sources."""
    named = [s.get("publisher") or s.get("url") or s.get("title") or s.get("locator") or "" for s in sources]
    return ", ".join(dict.fromkeys(named)) or None


def change(changed: dict[str, Any]) -> str:
    """A change in one line."""
    return f"{changed['field']}: {short(changed['before'])} → {short(changed['after'])}"


def short(value: Any) -> str:
    """A value of a state in a few words."""
    match value:
        case None:
            return "–"
        case {"currency": _}:
            return amount(value)
        case {"ko": _} | {"en": _}:
            return localized(value) or "–"
        case {"value": value, "basis": basis}:
            return f"{value} ({basis})"
        case dict():
            return ", ".join(f"{k} {short(v)}" for k, v in value.items() if v is not None)
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value) or "–"
        case list():
            return "1 entry" if len(value) == 1 else f"{len(value)} entries"
        case _:
            return str(value)


def _json(found: Any, as_json: bool, as_table: bool) -> bool:
    """Print JSON unless a table is wanted; whether it was printed."""
    if as_table or (sys.stdout.isatty() and not as_json):
        return False
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    return True


def _table(title: str | None, rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if title:
        console.print(title, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(heading(column), overflow="fold")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    console.print(table)
