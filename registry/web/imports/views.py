"""What the pages of imports show."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date

from litestar import Response
from msgspec import Struct

from registry.domain.principal import Credential
from registry.events.types import DealIdentified, Event
from registry.events.values import ExternalIdentifier
from registry.formatting.fields import LABEL_KINDS
from registry.i18n import Message
from registry.imports import mapping as mappings
from registry.imports.encodings import ENCODINGS
from registry.imports.mapping import form
from registry.imports.mapping.blocks import BLOCKS
from registry.imports.mapping.form import FormField, MappingForm
from registry.imports.mapping.parse import check
from registry.imports.messages import ImportText
from registry.imports.workbook import CellError, SheetRow, Table
from registry.schemas.deal_query import ITEM_FILTERS
from registry.web.imports.jobs import MAX_UPLOAD_BYTES, Job
from registry.web.imports.runner import MAPPING, QUESTIONS, REPORT, SAMPLE, ImportJobs
from registry.web.imports.sample import Sample, preview, read_sample
from registry.web.page import render
from registry.web.page.request import PageRequest

SHOWN_ROWS = 6
"""Rows of the sheet that its page shows below the header."""

MAX_MEANINGS = 40
"""Values of a column that the form offers meanings for."""

EMPTY_MEANINGS = 2
"""Empty lines below them."""

FILES = (MAPPING, QUESTIONS, REPORT)


class ShownSheet(Struct, frozen=True):
    """The header of a sheet and the rows around it, with their numbers."""

    name: str
    header: tuple[str, ...]
    header_row: int
    preamble: list[SheetRow]
    rows: list[SheetRow]


class PreviewedFact(Struct, frozen=True):
    """An event that a row states, with its date."""

    event: Event
    effective_on: date


class PreviewLine(Struct, frozen=True):
    """A row of the preview."""

    number: int
    title: str
    is_skipped: bool
    facts: list[PreviewedFact]
    errors: list[CellError]


def listed(
    page: PageRequest, jobs: ImportJobs, key: Credential, today: date, problem: Message | None = None, status: int = 200
) -> Response[bytes]:
    """The form that takes a sheet, and the imports that a principal has begun."""
    context = {"jobs": list(jobs.store.of(key.id)), "today": today, "problem": problem, "encodings": tuple(ENCODINGS)}
    megabytes = MAX_UPLOAD_BYTES // 2**20
    return render.send(page, render.render(page, "imports.html", status, max_megabytes=megabytes, **context))


async def shown(
    page: PageRequest, jobs: ImportJobs, job: Job, added: str = "", problem: Message | None = None, status: int = 200
) -> Response[bytes]:
    """The page of an import.

    Args:
        page: The request.
        jobs: The imports.
        job: The import.
        added: The place of a field of the mapping that is shown empty.
        problem: Why the last form was refused.
        status: The HTTP status.
    """
    if job.is_running:
        return render.send(page, render.render(page, "import_running.html", status, job=job))
    mapping_text = jobs.store.path(job, MAPPING).read_text("utf-8")
    sample = read_sample(jobs.store.path(job, SAMPLE))
    mapping, problems = check(mapping_text, MAPPING)
    table = sample.table(mapping, job)
    mapping_form = form.form_of(tomllib.loads(mapping_text), problems, added)
    lines, preview_problem = await asyncio.to_thread(_preview, sample, mapping, job)
    sheet = _sheet(sample, table)
    return render.send(
        page,
        render.render(
            page,
            "import.html",
            status,
            job=job,
            problem=problem,
            guesses=sample.guesses,
            sheet=sheet,
            sheet_names=[sampled.name for sampled in sample.sheets],
            form=mapping_form,
            policies=form.POLICIES,
            nothing=form.NOTHING,
            meanings=_meanings(mapping_form, sheet),
            label_kind=_label_kind,
            kinds=[kind for kind in BLOCKS if kind != "deal"],
            mapping_text=mapping_text,
            is_valid=mapping is not None,
            preview=lines,
            preview_problem=preview_problem,
            files={name for name in FILES if jobs.store.path(job, name).is_file()},
        ),
    )


def _preview(sample: Sample, mapping: mappings.Mapping | None, job: Job) -> tuple[list[PreviewLine], Message | None]:
    """The first rows as announcements; or what is missing, if no sheet has the columns of the key."""
    if mapping is None:
        return [], None
    rows = preview(sample, mapping, job)
    if rows is None:
        columns = tuple(" / ".join(names) for names in mapping.key_columns)
        return [], ImportText("key-columns-missing", columns=columns)
    lines = []
    for row in rows:
        facts = row.stated.facts if row.stated is not None else []
        shown_facts = [PreviewedFact(fact.event, fact.effective_on) for fact in facts]
        if row.stated is not None and facts:
            # A new deal gets its identifier last.
            identifier = ExternalIdentifier(scheme=mapping.scheme, value=row.stated.key)
            shown_facts.append(PreviewedFact(DealIdentified(identifiers=(identifier,)), facts[0].effective_on))
        title = row.stated.title if row.stated is not None and facts else ""
        lines.append(PreviewLine(row.number, title, row.stated is None, shown_facts, list(row.errors)))
    return lines, None


def _sheet(sample: Sample, table: Table | None) -> ShownSheet | None:
    if table is None:
        return None
    rows = next(sampled.rows for sampled in sample.sheets if sampled.name == table.name)
    preamble = [row for row in rows if row.number < table.header_row]
    below = [row for row in rows if row.number > table.header_row]
    return ShownSheet(table.name, table.header, table.header_row, preamble, below[:SHOWN_ROWS])


# --- the form ---------------------------------------------------------------------------------------------------------


def _meanings(mapping_form: MappingForm, sheet: ShownSheet | None) -> Mapping[str, list[tuple[str, str]]]:
    """The lines of each field's table of meanings: those of the mapping, then values of the column without one."""
    meanings = {}
    for block in (*mapping_form.sources, mapping_form.deal, *mapping_form.blocks):
        for field in block.fields:
            if field.column:
                known = dict(field.table)
                others = [text for text in _values(field, sheet) if text not in known] if field.field.choices else []
                meanings[field.at] = [*field.table, *((text, "") for text in others), *[("", "")] * EMPTY_MEANINGS]
    return meanings


def _values(field: FormField, sheet: ShownSheet | None) -> Iterable[str]:
    """The different texts of a field's column, as far as the sample shows."""
    if sheet is None or field.column not in sheet.header:
        return ()
    column = sheet.header.index(field.column)
    texts = dict.fromkeys(row.cell(column) for row in sheet.rows if row.cell(column))
    return list(texts)[:MAX_MEANINGS] if len(texts) <= MAX_MEANINGS else ()


def _label_kind(field: FormField, block: str) -> str:
    """The kind of labels that a field's choices have."""
    if field.name == "kind":
        own = {"milestone": "milestone", **{name: f"{name}_kind" for name in ITEM_FILTERS}}
        return own.get(block, "kind")
    return LABEL_KINDS.get(field.name, (field.name,))[0]
