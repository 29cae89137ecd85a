"""`registry import`: record announcements from files: sheets (CSV, XLSX) or lines (NDJSON), by the file's ending."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry.cli import record
from registry.cli.client import Url
from registry.cli.options import AsJson
from registry.cli.texts import Text, rendered

SHEETS = (".csv", ".tsv", ".xlsx")
# Of other programs: the service would refuse each of their bytes as a line of JSON.
OTHER_SHEETS = (".xls", ".xlsm", ".xlsb", ".ods", ".numbers")

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE|-…", help="NDJSON files, '-' for standard input, or sheets.", show_default=False),
]
Mapping = Annotated[
    Path | None, typer.Option(help="A TOML file that says what the columns of a sheet mean.", show_default=False)
]
PublishedOn = Annotated[str | None, typer.Option(help="The date on which the sheet was published.", show_default=False)]
Describe = Annotated[bool, typer.Option("--describe", help="Print a draft of a mapping for a sheet.")]
Encoding = Annotated[
    str | None,
    typer.Option(help="The encoding of CSV files, such as windows-1252. Default: guessed.", show_default=False),
]
SheetName = Annotated[
    str, typer.Option("--sheet", help="A part of the name of the sheet to describe.", show_default=False)
]
Questions = Annotated[
    Path | None,
    typer.Option(help="The file for questions and your answers. [SHEET-questions.toml]", show_default=False),
]
Report = Annotated[
    Path | None, typer.Option(help="The CSV file for refused rows. [SHEET-refused.csv]", show_default=False)
]
Strict = Annotated[bool, typer.Option("--strict", help="Record all rows of the sheets or none.")]
Template = Annotated[Path | None, typer.Option(help="Write an empty sheet (.csv, .xlsx) to this file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what sheets would change; record nothing.")]
Propose = Annotated[
    bool, typer.Option("--propose", help="Send the announcements to review as one submission; record nothing.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    files: Files = None,
    mapping: Mapping = None,
    published_on: PublishedOn = None,
    describe: Describe = False,
    sheet: SheetName = "",
    encoding: Encoding = None,
    questions: Questions = None,
    report: Report = None,
    strict: Strict = False,
    template: Template = None,
    dry_run: DryRun = False,
    propose: Propose = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Record announcements from files. A second import of the same file changes nothing.

    Lines and rows stand alone: what is wrong is reported, the rest is recorded. Lines (NDJSON) need an 'id' each to be
    recognized; rows of sheets are recognized by their content. An interrupted import is completed by running it again.
    """
    if any(file.lower().endswith(OTHER_SHEETS) for file in files or ()):
        raise typer.BadParameter(rendered(Text("sheet_of_other_type")), param_hint="FILE")
    sheets = [file for file in files or () if file.lower().endswith(SHEETS)]
    if template is not None or sheets:
        # Imported here: importing lines does not need the spreadsheet library.
        from registry.cli import import_sheets

        if template is not None:
            import_sheets.write_template(template)
        elif len(sheets) != len(files or ()):
            raise typer.BadParameter(rendered(Text("sheets_and_lines")), param_hint="FILE")
        elif describe:
            import_sheets.describe_sheets([Path(file) for file in sheets], sheet, encoding)
        else:
            options = import_sheets.ImportOptions(
                mapping=mapping,
                published_on=published_on,
                encoding=encoding,
                questions=questions,
                report=report,
                strict=strict,
                dry_run=dry_run,
                propose=propose,
                as_json=as_json,
            )
            import_sheets.import_sheets([Path(file) for file in sheets], options, url)
        return
    if any((mapping, published_on, describe, sheet, encoding, questions, report, strict, dry_run)):
        raise typer.BadParameter(rendered(Text("only_for_sheets")), param_hint="FILE")
    if not files:
        raise typer.BadParameter(rendered(Text("file_missing")), param_hint="FILE")
    for file in files:
        record.import_(file, url, as_json, propose=propose)
