"""`registry import` of sheets: announcements row by row, or a tracker's sheets through a mapping.

The command plans the whole import first, in a temporary file, and then sends it in one stream. Rows stand alone: what
is wrong is reported, and the other rows are recorded. An import that was interrupted is completed by the next one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import typer
from msgspec import Struct, field
from rich.progress import Progress

from registry.cli import record, summaries
from registry.cli.client import EXIT_CODE_BY_STATUS, client
from registry.cli.import_registry import HttpRegistry
from registry.cli.import_sending import Line, propose, send, try_out
from registry.cli.options import progress_bar, stderr
from registry.cli.texts import Text, plain_spaces, rendered
from registry.client import Client
from registry.imports import announcements, describe, template, workbook
from registry.imports import mapping as mappings
from registry.imports.announcements import ParsedRow, RefusedRow, SkippedSheet
from registry.imports.encodings import ENCODINGS
from registry.imports.mapping import Mapping
from registry.imports.messages import ImportText
from registry.imports.report import write_report
from registry.imports.spool import Spool
from registry.imports.tracker import questions
from registry.imports.tracker.notes import notes_of
from registry.imports.tracker.plan import Plan, make_plan
from registry.imports.tracker.questions import OpenQuestion, QuestionFile
from registry.imports.workbook import CellError, Sheet

INVALID = 5
MAX_PRINTED = 50
"""Errors, questions and flags that are printed. All errors and questions are in the files; flags are at their deals."""


class ImportOptions(Struct, frozen=True, kw_only=True):
    """What the command was asked for."""

    mapping: Path | None = None
    published_on: str | None = None
    encoding: str | None = None
    questions: Path | None = None
    report: Path | None = None
    strict: bool = False
    dry_run: bool = False
    propose: bool = False
    as_json: bool = False


class Outcome(Struct):
    """What an import did: the results of lines, the errors of rows, the open questions."""

    recorded: int = 0
    repeated: int = 0
    changes: int = 0
    lines: int = 0
    errors: list[CellError] = field(default_factory=list)
    questions: list[OpenQuestion] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    proposals: list[dict[str, Any]] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    flags: int = 0


def write_template(file: Path) -> None:
    """Write an empty sheet as CSV or XLSX, by the file's ending."""
    match file.suffix.lower():
        case ".csv":
            file.write_bytes(template.template_csv())
        case ".xlsx":
            file.write_bytes(template.template_xlsx())
        case _:
            raise typer.BadParameter(rendered(Text("template_name")), param_hint="--template")


def describe_sheets(files: Sequence[Path], name: str, encoding: str | None) -> None:
    """Print a draft of a mapping for one of the sheets; print what was guessed to standard error."""
    with workbook.open_sheets([_existing(file) for file in files], encoding=_encoding(encoding)) as sheets:
        _print_encodings(sheets)
        draft = describe.describe(sheets, name=name, encoding=encoding)
    typer.echo(draft.mapping, nl=False)
    for guess in draft.guesses:
        stderr.print(rendered(guess), soft_wrap=True, markup=False)


def import_sheets(files: Sequence[Path], options: ImportOptions, url: str) -> None:
    """Record what the sheets announce.

    Wrong rows are reported, and the command ends with 5; with `strict`, nothing is recorded then.
    """
    outcome = Outcome()
    encoding = _encoding(options.encoding)
    mapping = _mapping(options.mapping) if options.mapping is not None else None
    if encoding is None and mapping is not None:
        encoding = mapping.encoding
    with ExitStack() as stack:
        sheets = stack.enter_context(workbook.open_sheets([_existing(file) for file in files], encoding=encoding))
        _print_encodings(sheets)
        service = stack.enter_context(client(url))
        spool = Spool()
        stack.callback(spool.close)
        if mapping is None:
            lines, header_rows = _announcements(sheets, spool, outcome)
        else:
            question_file = options.questions or files[0].with_name(f"{files[0].stem}-questions.toml")
            answered = _answered(question_file)
            plan = _plan(service, sheets, mapping, options, answered)
            stack.callback(plan.spool.close)
            header_rows = {plan.sheet: plan.header_row}
            outcome.errors += plan.errors
            outcome.questions += plan.questions
            _print_notes(plan)
            if plan.questions and not options.dry_run:
                _write_questions(plan, answered, question_file)

            def lines() -> Iterator[Line]:
                return (Line(plan.sheet, one.row, one.slug, one.line) for one in plan.lines())

        _record(service, lines, options, outcome)
        if outcome.flags > MAX_PRINTED:
            stderr.print(rendered(Text("more_flags", count=outcome.flags - MAX_PRINTED)), markup=False)
        if outcome.errors:
            report = options.report or files[0].with_name(f"{files[0].stem}-refused.csv")
            count = write_report(report, sheets, header_rows, outcome.errors, rendered)
            _print_errors(outcome.errors)
            if count:
                stderr.print(
                    rendered(Text("rows_refused", count=count, file=str(report))), soft_wrap=True, markup=False
                )
    _print_outcome(outcome, options)
    if outcome.errors:
        raise typer.Exit(max((EXIT_CODE_BY_STATUS.get(status, 1) for status in outcome.statuses), default=INVALID))


def _mapping(file: Path) -> Mapping:
    return mappings.parse(_existing(file).read_text("utf-8"), file.name)


def _encoding(name: str | None) -> str | None:
    if name is not None and name not in ENCODINGS:
        problem = ImportText("mapping-choice", value=name, known=tuple(ENCODINGS))
        raise typer.BadParameter(rendered(problem), param_hint="--encoding")
    return name


def _print_encodings(sheets: Sequence[Sheet]) -> None:
    for note in workbook.encodings_read(sheets):
        stderr.print(rendered(note), soft_wrap=True, markup=False)


def _existing(file: Path) -> Path:
    if not file.is_file():
        problem = Text("file_unreadable", file=str(file))
        raise typer.BadParameter(rendered(problem), param_hint="FILE")
    return file


def _progress() -> Progress:
    """A progress bar on a terminal."""
    progress = progress_bar()
    progress.disable = not stderr.is_terminal
    return progress


# --- planning ---------------------------------------------------------------------------------------------------------


def _announcements(
    sheets: Sequence[Sheet], spool: Spool, outcome: Outcome
) -> tuple[Callable[[], Iterator[Line]], dict[str, int]]:
    for row in announcements.parse(sheets):
        match row:
            case ParsedRow():
                sheet = row.at.rpartition("!")[0].strip("'").replace("''", "'")
                spool.add((sheet, row.row, row.slug, row.ndjson()))
            case RefusedRow():
                outcome.errors += row.errors
            case SkippedSheet():
                stderr.print(rendered(Text("sheet_skipped", sheet=row.name)), markup=False)

    def lines() -> Iterator[Line]:
        return (Line(*one) for one in spool.read(tuple[str, int, str, bytes]))

    return lines, {sheet.name: table.header_row for sheet in sheets if (table := sheet.table()) is not None}


def _answered(file: Path) -> QuestionFile:
    """The questions and answers of a file; none if there is no such file."""
    return questions.read(file.read_text("utf-8"), file.name) if file.is_file() else QuestionFile()


def _plan(
    service: Client, sheets: Sequence[Sheet], read: Mapping, options: ImportOptions, answered: QuestionFile
) -> Plan:
    published_on = _day(options.published_on, read)
    with _progress() as progress:
        task = progress.add_task(rendered(Text("reading_rows")), total=None)
        plan = make_plan(
            sheets,
            read,
            published_on,
            HttpRegistry(service),
            answered.answers,
            lambda rows: progress.update(task, completed=rows),
        )
    if plan is None:
        raise typer.BadParameter(
            rendered(ImportText("key-columns-missing", columns=tuple(" / ".join(names) for names in read.key_columns))),
            param_hint="FILE",
        )
    return plan


def _write_questions(plan: Plan, answered: QuestionFile, file: Path) -> None:
    introduction = rendered(ImportText("questions-introduction"))
    file.write_text(questions.write(answered, plan.questions, rendered, introduction), "utf-8")
    note = Text("questions_written", count=len(plan.questions), file=str(file))
    stderr.print(rendered(note), soft_wrap=True, markup=False)


def _day(text: str | None, mapping: Mapping) -> date:
    if text is None:
        if mapping.published_on is None:
            raise typer.BadParameter(rendered(Text("published_on_missing")), param_hint="--published-on")
        return mapping.published_on
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(rendered(Text("not_a_date", value=text)), param_hint="--published-on") from None


def _print_notes(plan: Plan) -> None:
    for note in notes_of(plan):
        stderr.print(rendered(note), soft_wrap=True, markup=False)


# --- recording --------------------------------------------------------------------------------------------------------


def _record(service: Client, lines: Callable[[], Iterator[Line]], options: ImportOptions, outcome: Outcome) -> None:
    if options.strict and outcome.errors:
        return

    def take(line: Line, result: dict[str, Any]) -> None:
        _take(line, result, options, outcome)

    if options.dry_run:
        try_out(service, lines, take)
        return
    if options.strict:
        trial = Outcome()
        try_out(service, lines, lambda line, result: _take(line, result, options, trial))
        if trial.errors:
            outcome.errors, outcome.statuses = trial.errors, trial.statuses
            return
    if options.propose:
        propose(service, lines, take)
        return
    total = sum(1 for _ in lines())
    if not total:
        return
    with _progress() as progress:
        task = progress.add_task(rendered(Text("recording")), total=total)

        def take_with_progress(line: Line, result: dict[str, Any]) -> None:
            take(line, result)
            progress.advance(task)

        send(service, lines, take_with_progress)


def _take(line: Line, result: dict[str, Any], options: ImportOptions, outcome: Outcome) -> None:
    status = result["status"]
    at = workbook.position(line.sheet, line.row, 0)
    outcome.lines += 1
    if status >= 400:
        outcome.statuses.add(status)
        problem = ImportText("refused-by-registry", deal=line.slug, problem=str(result["detail"]))
        outcome.errors.append(CellError(at, problem, line.sheet, line.row))
        return
    outcome.recorded += status == 201
    outcome.repeated += status == 200
    for flag in result.get("flags", ()):
        outcome.flags += 1
        if outcome.flags <= MAX_PRINTED:
            stderr.print(f"{at}: {flag['detail']}", soft_wrap=True, markup=False)
    if "proposal" in result:
        outcome.proposals.append(result)
    if options.as_json:
        outcome.results.append({"at": at, **result})
        return
    for change in result.get("changes", ()):
        outcome.changes += 1
        path = change["field"]
        before, after = (summaries.value(path, change[side]) or "–" for side in ("before", "after"))
        typer.echo(plain_spaces(f"{line.slug}  {path}: {before} → {after}"))


# --- output -----------------------------------------------------------------------------------------------------------


def _print_errors(errors: Sequence[CellError]) -> None:
    for error in errors[:MAX_PRINTED]:
        value = f" '{error.value[:80]}'" if error.value else ""
        column = f" {error.column}" if error.column else ""
        stderr.print(f"{error.at}{column}{value}: {rendered(error.problem)}", soft_wrap=True, markup=False)
    if len(errors) > MAX_PRINTED:
        stderr.print(rendered(Text("more_errors", count=len(errors) - MAX_PRINTED)), markup=False)


def _print_outcome(outcome: Outcome, options: ImportOptions) -> None:
    asked = len(outcome.questions)
    if options.as_json:
        output = {
            "dry_run": options.dry_run,
            "results": outcome.results,
            "questions": [
                {"id": q.id, "kind": q.kind, "at": q.at, "text": rendered(q.message)} for q in outcome.questions
            ],
            "errors": [
                {"at": e.at, "column": e.column, "value": e.value, "problem": rendered(e.problem)}
                for e in outcome.errors
            ],
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(output), indent=2).decode() + "\n")
        return
    for question in outcome.questions[:MAX_PRINTED]:
        typer.echo(f"? {question.at}: {rendered(question.message)}")
    if options.dry_run:
        typer.echo(
            rendered(Text("import_preview", announcements=outcome.lines, fields=outcome.changes, questions=asked))
        )
    elif options.propose:
        summary = Text("import_proposed", proposed=outcome.recorded, repeated=outcome.repeated, questions=asked)
        typer.echo(rendered(summary))
        record.print_review(outcome.proposals)
    elif options.strict and outcome.errors:
        typer.echo(rendered(Text("nothing_recorded")))
    else:
        summary = Text("import_summary", recorded=outcome.recorded, repeated=outcome.repeated, questions=asked)
        typer.echo(rendered(summary))
