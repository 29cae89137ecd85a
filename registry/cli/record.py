"""`registry record`, and the part of `registry import` that sends lines: announcements from files to the service."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from registry.cli.client import EXIT_CODE_BY_STATUS, Url, client
from registry.cli.import_sending import PIECE_BYTES, propose_pieces
from registry.cli.options import AsJson, show, stderr
from registry.cli.texts import Text, rendered

CHUNK_BYTES = 2**16
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)

File = Annotated[str, typer.Argument(metavar="FILE|-", help="A file, or '-' for standard input.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(record)


def record(
    file: File,
    deal: Annotated[str | None, typer.Option(help="The deal of announcements that name none.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Record nothing; show what would change.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Record announcements, all of them or none: a JSON object, a JSON list, or one per line, each with its 'deal'."""
    with _opened(file) as source:
        body = b"\n".join(_announcements(source.read(), deal))
    with client(url) as service:
        results = service.import_atomically(body, dry_run=dry_run)
    for result in results:
        for flag in result.pop("flags", ()):
            text = Text("line", line=result["line"], problem=flag["detail"])
            stderr.print(rendered(text), soft_wrap=True, markup=False)
        if dry_run and sys.stdout.isatty() and not as_json:
            result["changes"] = ", ".join(change["field"] for change in result["changes"])
    show(results, as_json=as_json)


def _announcements(text: bytes, deal: str | None) -> Iterator[bytes]:
    """Each announcement as a line. Text that is not JSON is sent as it is; the service reports what is wrong."""
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = text.split(b"\n")
    else:
        lines = [msgspec.json.encode(one) for one in (whole if isinstance(whole, list) else [whole])]
    for line in lines:
        if deal is None:
            yield line
            continue
        try:
            announcement = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield line
        else:
            yield msgspec.json.encode({"deal": deal, **announcement})


def import_(
    file: File,
    url: Url = "",
    as_json: AsJson = False,
    *,
    propose: bool = False,
) -> None:
    """Record the announcements of an NDJSON file. Rejected lines are reported; the import continues.

    If each announcement has an 'id', a second import of the same file changes nothing.

    Args:
        file: The file, or '-'.
        url: The address of the service.
        as_json: Whether to print JSON.
        propose: Send all of them to review as one submission, and record nothing.
    """
    if propose:
        with _opened(file) as source, client(url) as service:
            results = list(propose_pieces(service, _pieces(source)))
        print_review(results)
        proposed = sum(result["status"] == 201 for result in results)
        show([{"proposed": proposed, "recorded or waiting already": len(results) - proposed}], as_json=as_json)
        return
    counted: Counter[int] = Counter()
    size = Path(file).stat().st_size if file != "-" and Path(file).is_file() else None
    with Progress(*COLUMNS, console=stderr) as progress, _opened(file) as source, client(url) as service:
        task = progress.add_task(rendered(Text("recording")), total=size)

        def chunks() -> Iterator[bytes]:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
                progress.advance(task, len(chunk))

        for result in service.import_lines(chunks()):
            counted[result["status"]] += 1
            if result["status"] >= 400:
                about = result.get("deal") or result.get("organization") or ""
                text = Text("line", line=result["line"], problem=f"{about} {result['detail']}")
                progress.print(rendered(text), markup=False)
    refused = {status: count for status, count in counted.items() if status >= 400}
    row = {"recorded": counted[201], "already recorded": counted[200], "refused": sum(refused.values())}
    show([row], as_json=as_json)
    if refused:
        # The highest exit code: invalid lines, then conflicts, then errors that a retry may solve.
        raise typer.Exit(
            max({**EXIT_CODE_BY_STATUS, 400: EXIT_CODE_BY_STATUS[422]}.get(status, 1) for status in refused)
        )


def print_review(results: Iterable[Mapping[str, Any]]) -> None:
    """Print where the review of an import is: the page of its first proposal."""
    proposal = next((result["proposal"] for result in results if "proposal" in result), None)
    if proposal is not None:
        stderr.print(rendered(Text("review_at", page=f"/proposals/{proposal}")), soft_wrap=True, markup=False)


def _opened(file: str) -> IO[bytes]:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        stderr.print(f"registry: {file}: {error.strerror}", markup=False)
        raise typer.Exit(2) from None


def _pieces(source: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of a file, in pieces of about `PIECE_BYTES`."""
    while piece := source.readlines(PIECE_BYTES):
        yield [text for line in piece if (text := line.strip())]
