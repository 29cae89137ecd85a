"""`registry import`: many announcements from files, by their endings: CSV and XLSX sheets, else one a line (NDJSON).

Chooses who reads them, `import_sheets.py` or `record.py`, and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry.cli import record
from registry.cli.client import Url
from registry.cli.options import AsJson

SHEETS = (".csv", ".tsv", ".xlsx")

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE|-…", help="Lines (NDJSON), '-' for standard input, or sheets.", show_default=False),
]
Mapping = Annotated[Path | None, typer.Option(help="How to read a tracker's sheets: a TOML file.", show_default=False)]
PublishedOn = Annotated[str | None, typer.Option(help="The day a tracker's sheets are of.", show_default=False)]
Template = Annotated[Path | None, typer.Option(help="Write an empty sheet (.csv, .xlsx) to this file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what sheets would change, record nothing.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
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
    """Records the announcements of files. What is recorded already is known again: a second import changes nothing.

    Of lines (NDJSON, each best with an 'id') what is refused is told, and the rest goes on. Of sheets all is recorded,
    or nothing is.
    """
    of_sheets = [file for file in files or () if file.lower().endswith(SHEETS)]
    if template is not None or of_sheets:
        # Imported here: who imports lines need not wait for what reads spreadsheets.
        from registry.cli import import_sheets

        if template is not None:
            import_sheets.write_template(template)
        elif len(of_sheets) != len(files or ()):
            raise typer.BadParameter("sheets and lines are imported by themselves", param_hint="FILE")
        else:
            paths = [Path(file) for file in of_sheets]
            import_sheets.import_sheets(paths, mapping, published_on, url, dry_run=dry_run, as_json=as_json)
        return
    if mapping is not None or published_on is not None or dry_run:
        raise typer.BadParameter(
            "--mapping, --published-on and --dry-run are for sheets (.csv, .xlsx)", param_hint="FILE"
        )
    if not files:
        raise typer.BadParameter("name a file", param_hint="FILE")
    for file in files:
        record.import_(file, url, as_json)
