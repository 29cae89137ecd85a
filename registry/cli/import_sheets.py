"""`registry import` of sheets: announcements row by row, or a tracker's sheets compared with what is recorded.

The command reads the files, queries the service, and sends everything in one request: all is recorded, or nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import msgspec
import typer
from rich.progress import track

from registry.cli import query
from registry.cli.client import answer, client
from registry.cli.options import stderr
from registry.cli.texts import Text, rendered
from registry.imports import announcements, template, tracker, workbook
from registry.imports import mapping as mappings
from registry.imports.announcements import ParsedRow
from registry.imports.tracker import ImportPlan, KnownDeal, OpenQuestion
from registry.imports.workbook import CellError, Sheet

INVALID = 5

END_OF_TIME = "2999-12-31"
"""A date by which every recorded event is in effect."""


def write_template(file: Path) -> None:
    """Write an empty sheet as CSV or XLSX, by the file's ending."""
    match file.suffix.lower():
        case ".csv":
            file.write_bytes(template.template_csv())
        case ".xlsx":
            file.write_bytes(template.template_xlsx())
        case _:
            raise typer.BadParameter(rendered(Text("template_name")), param_hint="--template")


def import_sheets(
    files: Sequence[Path], mapping: Path | None, published_on: str | None, url: str, *, dry_run: bool, as_json: bool
) -> None:
    """Record what the sheets announce. If a cell is invalid, nothing is sent and the command ends with 5."""
    sheets = _read(files)
    questions: Sequence[OpenQuestion] = ()
    with client(url) as service:
        if mapping is None:
            parsed = announcements.parse(sheets)
            _refuse(parsed.errors)
            for name in parsed.skipped_sheets:
                stderr.print(rendered(Text("sheet_skipped", sheet=name)), markup=False)
            lines = parsed.rows
        else:
            plan = _compared(service, sheets, mappings.parse(mapping.read_text("utf-8")), _day(published_on))
            questions = plan.questions
            lines = plan.rows
        results = _send(service, lines, dry_run=dry_run)
    _print_plan(lines, results, questions, dry_run=dry_run, as_json=as_json)


def _read(files: Sequence[Path]) -> list[Sheet]:
    sheets: list[Sheet] = []
    try:
        for file in files:
            sheets += workbook.read(file.name, file.read_bytes())
    except workbook.SheetErrors as error:
        _refuse(error.errors)
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="FILE") from None
    return sheets


def _day(text: str | None) -> date:
    if text is None:
        raise typer.BadParameter(rendered(Text("published_on_missing")), param_hint="--published-on")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(rendered(Text("not_a_date", value=text)), param_hint="--published-on") from None


def _refuse(errors: Sequence[CellError]) -> None:
    if errors:
        for error in errors:
            stderr.print(f"{error.at}: {rendered(error.problem)}", soft_wrap=True, markup=False)
        stderr.print(f"registry: {rendered(Text('cells_invalid', count=len(errors)))}", markup=False)
        raise typer.Exit(INVALID)


def _compared(service: httpx.Client, sheets: Sequence[Sheet], mapping: mappings.Mapping, on: date) -> ImportPlan:
    day = on.isoformat()
    then = {"effective_on": day, "published_on": day}
    prefix = mapping.deal.slug
    slugs = [slug for slug in _slugs(service, then) if slug.startswith(prefix)]
    known = [slug for slug in _slugs(service, {"effective_on": END_OF_TIME}) if slug.startswith(prefix)]
    shown = track(
        slugs, rendered(Text("reading_deals")), console=stderr, transient=True, disable=not stderr.is_terminal
    )
    known_deals = [_known_deal(service, slug, then) for slug in shown]
    plan = tracker.compare(sheets, mapping, on, known_deals, known)
    if plan.errors:
        _print_questions(plan.questions)
    _refuse(plan.errors)
    return plan


def _slugs(service: httpx.Client, parameters: dict[str, str]) -> list[str]:
    slugs: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = answer(
            service.get("/v1/deals", params={**parameters, "limit": "1000", **({"cursor": cursor} if cursor else {})})
        )
        slugs += [deal["deal"] for deal in page["deals"]]
        cursor = page["next"]
    return slugs


def _known_deal(service: httpx.Client, slug: str, then: dict[str, str]) -> KnownDeal:
    state = answer(service.get(f"/v1/deals/{slug}", params=then))
    blame = answer(service.get(f"/v1/deals/{slug}/blame", params=then))
    audit = answer(service.get(f"/v1/deals/{slug}/events", params={"published_on": then["published_on"]}))
    set_by = {field["field"]: field["event"] for field in blame["fields"]}
    return KnownDeal(
        slug, state, set_by, {event["id"]: event for event in audit["events"] if event["event"] is not None}
    )


def _send(service: httpx.Client, lines: Sequence[ParsedRow], *, dry_run: bool) -> list[dict[str, Any]]:
    """Record all lines in one request. If it is refused, print the row that is the reason."""
    if not lines:
        return []
    body = b"\n".join(line.ndjson() for line in lines)
    parameters = {"dry_run": "true"} if dry_run else {"atomic": "true"}
    response = service.post(
        "/v1/import", params=parameters, content=body, headers={"Content-Type": "application/x-ndjson"}
    )
    if not response.is_success and response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
        if problem.get("line"):
            stderr.print(lines[problem["line"] - 1].at, soft_wrap=True, markup=False)
    if not response.is_success:
        answer(response)
    return [msgspec.json.decode(result) for result in response.content.splitlines()]


def _print_plan(
    lines: Sequence[ParsedRow],
    results: Sequence[dict[str, Any]],
    questions: Sequence[OpenQuestion],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        output = {"dry_run": dry_run, "results": [{"at": a.at, **r} for a, r in zip(lines, results, strict=True)]}
        output["questions"] = [
            {"kind": q.kind, "at": q.at, "text": rendered(q.message), "accept": q.accept} for q in questions
        ]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(output), indent=2).decode() + "\n")
        return
    changes = 0
    for line, result in zip(lines, results, strict=True):
        for change in result.get("changes", ()):
            changes += 1
            typer.echo(f"{line.slug}  {query.change(change)}")
        for flag in result.get("flags", ()):
            stderr.print(f"{line.at}: {flag['detail']}", soft_wrap=True, markup=False)
    _print_questions(questions)
    if dry_run:
        preview = Text("import_preview", announcements=len(lines), fields=changes, questions=len(questions))
        typer.echo(rendered(preview))
        return
    new = sum(result["status"] == 201 for result in results)
    summary = Text("import_summary", recorded=new, repeated=len(results) - new, questions=len(questions))
    typer.echo(rendered(summary))


def _print_questions(questions: Sequence[OpenQuestion]) -> None:
    for question in questions:
        typer.echo(f"? {question.at}: {rendered(question.message)}")
        if question.accept:
            typer.echo("\n".join(f"      {line}" for line in question.accept.splitlines()))
