"""`registry organizations`: list them, find duplicates by their names, merge those of a reviewed file, and undo it."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct

from registry.cli import summaries
from registry.cli.client import Url, client
from registry.cli.options import AsJson, show, stderr
from registry.cli.texts import Text, rendered
from registry.exports.csv import escape_formula
from registry.schemas.organizations import OrganizationMerge, OrganizationMergeResult, OrganizationMergeResults

COLUMNS = ("organization", "into", "name", "into_name", "deals", "into_deals", "methods")
"""The columns of the file of duplicates. `merge` and `unmerge` read the first two, and `reason` if there is one."""

MERGES_PER_REQUEST = 200
CLUSTERS_PER_REQUEST = 1000
INVALID = 5

group = typer.Typer(no_args_is_help=True, help="List organizations, find duplicates, and merge them.")

File = Annotated[Path, typer.Argument(help="A CSV file with the columns organization and into.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check every line; record nothing.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(group, name="organizations")


@group.command("list")
def list_organizations(
    q: Annotated[str | None, typer.Option(help="Words of a name.", show_default=False)] = None,
    effective_on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Effective date (default: today).", show_default=False)
    ] = None,
    published_on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As published by this day.", show_default=False)
    ] = None,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """List organizations: those with a record, and those that only announcements name."""
    as_of: dict[str, Any] = {"effective_on": _day(effective_on), "published_on": _day(published_on)}
    with client(url) as service:
        rows = [
            {
                "organization": one.organization,
                "name": summaries.localized(dict(one.name or {})) or one.organization,
                "deals": one.deal_count,
                "registered": one.registered,
            }
            for one in service.every_organization(q=q, **{n: day for n, day in as_of.items() if day is not None})
        ]
    show(rows, as_json=as_json)


def _day(at: datetime | None) -> date | None:
    return at.date() if at is not None else None


@group.command("duplicates")
def duplicates(url: Url = "") -> None:
    """Write organizations that may be the same one as CSV, for a person to review.

    Each line says which organization would be merged into which. Delete the lines that are wrong and give the file to
    `registry organizations merge`.
    """
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    count = 0
    with client(url) as service:
        while True:
            page = service.organization_clusters(skip=count, limit=CLUSTERS_PER_REQUEST)
            for cluster in page.clusters:
                kept, *others = cluster.members
                for one in others:
                    names = (*map(escape_formula, (one.names[0], kept.names[0])), one.deal_count, kept.deal_count)
                    writer.writerow([one.organization, kept.organization, *names, " ".join(cluster.methods)])
            count += len(page.clusters)
            if not page.clusters or count >= page.total:
                break
    stderr.print(rendered(Text("clusters_found", count=count)), soft_wrap=True, markup=False)


@group.command("merge")
def merge(file: File, dry_run: DryRun = False, url: Url = "", as_json: AsJson = False) -> None:
    """Merge the organizations of a reviewed file. A second run changes nothing; `unmerge` undoes it."""
    with client(url) as service:
        _record(_Sending(service.merge_organizations), file, dry_run=dry_run, as_json=as_json)


@group.command("unmerge")
def unmerge(file: File, dry_run: DryRun = False, url: Url = "", as_json: AsJson = False) -> None:
    """Undo the merges of a file. Each organization is again as it was before."""
    with client(url) as service:
        _record(_Sending(service.unmerge_organizations, is_reversed=True), file, dry_run=dry_run, as_json=as_json)


class _Sending(Struct, frozen=True):
    """How merges are sent; a chain of them is undone from its end."""

    send: Callable[..., OrganizationMergeResults]
    is_reversed: bool = False

    def all(self, merges: list[OrganizationMerge], *, dry_run: bool) -> list[OrganizationMergeResult]:
        """Send merges in pieces; the results are in their order."""
        pieces = [merges[i : i + MERGES_PER_REQUEST] for i in range(0, len(merges), MERGES_PER_REQUEST)]
        step = -1 if self.is_reversed else 1
        answers = [self.send(piece, dry_run=dry_run) for piece in pieces[::step]]
        return [one for answer in answers[::step] for one in answer.results]


def _record(sending: _Sending, file: Path, *, dry_run: bool, as_json: bool) -> None:
    lines = _lines(file)
    results = sending.all([one for _, one in lines], dry_run=dry_run)
    refused = [(number, one) for (number, _), one in zip(lines, results, strict=True) if one.outcome == "refused"]
    for number, one in refused:
        stderr.print(f"{file.name}:{number} {one.organization}: {one.detail}", soft_wrap=True, markup=False)
    if as_json:
        sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    else:
        counts = Counter(one.outcome for one in results)
        show([{"outcome": outcome, "organizations": count} for outcome, count in sorted(counts.items())])
    if refused:
        raise typer.Exit(INVALID)


def _lines(file: Path) -> list[tuple[int, OrganizationMerge]]:
    """The merges of a file, each with the number of its line."""
    if not file.is_file():
        raise typer.BadParameter(rendered(Text("file_unreadable", file=str(file))), param_hint="FILE")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(_merges(file, csv.DictReader(lines)))


def _merges(file: Path, rows: csv.DictReader[str]) -> Iterator[tuple[int, OrganizationMerge]]:
    if not {"organization", "into"} <= set(rows.fieldnames or ()):
        raise typer.BadParameter(rendered(Text("merge_columns", file=file.name)), param_hint="FILE")
    for row in rows:
        fields = {name: text for name in ("organization", "into", "reason") if (text := (row.get(name) or "").strip())}
        try:
            yield rows.line_num, msgspec.convert(fields, OrganizationMerge)
        except msgspec.ValidationError:
            problem = Text("merge_line", file=file.name, line=rows.line_num)
            raise typer.BadParameter(rendered(problem), param_hint="FILE") from None
