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

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE|-…", help="NDJSON files, '-' for standard input, or sheets.", show_default=False),
]
Mapping = Annotated[
    Path | None, typer.Option(help="A TOML file that says how to read a tracker's sheets.", show_default=False)
]
PublishedOn = Annotated[
    str | None, typer.Option(help="The date on which a tracker's sheets were published.", show_default=False)
]
Template = Annotated[Path | None, typer.Option(help="Write an empty sheet (.csv, .xlsx) to this file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what sheets would change; record nothing.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    files: Files = None,
    mapping: Mapping = None,
    published_on: PublishedOn = None,
    template: Template = None,
    dry_run: DryRun = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Record announcements from files. A second import of the same file changes nothing.

    Lines (NDJSON, best with an 'id' each): rejected lines are reported, the others are recorded. Sheets: all rows are
    recorded, or none.
    """
    sheets = [file for file in files or () if file.lower().endswith(SHEETS)]
    if template is not None or sheets:
        # Imported here: importing lines does not need the spreadsheet library.
        from registry.cli import import_sheets

        if template is not None:
            import_sheets.write_template(template)
        elif len(sheets) != len(files or ()):
            raise typer.BadParameter(rendered(Text("sheets_and_lines")), param_hint="FILE")
        else:
            paths = [Path(file) for file in sheets]
            import_sheets.import_sheets(paths, mapping, published_on, url, dry_run=dry_run, as_json=as_json)
        return
    if mapping is not None or published_on is not None or dry_run:
        raise typer.BadParameter(rendered(Text("only_for_sheets")), param_hint="FILE")
    if not files:
        raise typer.BadParameter(rendered(Text("file_missing")), param_hint="FILE")
    for file in files:
        record.import_(file, url, as_json)
