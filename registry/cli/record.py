"""`registry record` and `registry import`: announcements from files to the service, over HTTP as anybody would.

Sends what the file says and tells what became of it; decides nothing about either.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from registry.cli.client import EXIT_CODE_BY_STATUS, Url, answer, client
from registry.cli.options import AsJson, show, stderr

NDJSON = {"Content-Type": "application/x-ndjson"}
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
    """Adds the command; `imports.py` has the other."""
    app.command()(record)


def record(
    file: File,
    deal: Annotated[str | None, typer.Option(help="The deal, where the announcements name none.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Record nothing: tell what would change.")] = False,
    url: Url = "",
    as_json: AsJson = False,
) -> None:
    """Records announcements, all of them or none: a JSON object, a JSON list, or one a line, each with its 'deal'."""
    with _opened(file) as source:
        body = b"\n".join(_announcements(source.read(), deal))
    with client(url) as service:
        asked = {"atomic": "true", **({"dry_run": "true"} if dry_run else {})}
        told = service.post("/v1/import", params=asked, content=body, headers=NDJSON)
        if not told.is_success:
            answer(told)
    results = [msgspec.json.decode(line) for line in told.text.splitlines()]
    for result in results:
        for flag in result.pop("flags", ()):
            stderr.print(f"line {result['line']}: {flag['detail']}", soft_wrap=True, markup=False)
        if dry_run and sys.stdout.isatty() and not as_json:
            result["changes"] = ", ".join(change["field"] for change in result["changes"])
    show(results, as_json=as_json)


def _announcements(text: bytes, deal: str | None) -> Iterator[bytes]:
    """Each announcement as a line. What is no JSON goes as it is: the service says what is wrong with it."""
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
) -> None:
    """Records the announcements of a file with one a line (NDJSON); what is refused is told, and the rest goes on.

    Give each an 'id', and a second import of the same file changes nothing.
    """
    counted: Counter[int] = Counter()
    size = Path(file).stat().st_size if file != "-" and Path(file).is_file() else None
    with Progress(*COLUMNS, console=stderr) as progress, _opened(file) as source, client(url) as service:
        task = progress.add_task("Recording", total=size)

        def pieces() -> Iterator[bytes]:
            while piece := source.read(CHUNK_BYTES):
                yield piece
                progress.advance(task, len(piece))

        sent = service.stream("POST", "/v1/import", content=pieces(), headers=NDJSON, timeout=None)
        with sent as told:
            if not told.is_success:
                told.read()
                answer(told)
            for line in told.iter_lines():
                result = msgspec.json.decode(line)
                counted[result["status"]] += 1
                if result["status"] >= 400:
                    about = result.get("deal") or result.get("organization") or ""
                    progress.print(f"line {result['line']}: {about} {result['detail']}", markup=False)
    refused = {status: count for status, count in counted.items() if status >= 400}
    row = {"recorded": counted[201], "there already": counted[200], "refused": sum(refused.values())}
    show([row], as_json=as_json)
    if refused:
        # What says most: what is wrong in the file, then what the record cannot take, then what may pass.
        raise typer.Exit(
            max({**EXIT_CODE_BY_STATUS, 400: EXIT_CODE_BY_STATUS[422]}.get(status, 1) for status in refused)
        )


def _opened(file: str) -> IO[bytes]:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        stderr.print(f"registry: {file}: {error.strerror}", markup=False)
        raise typer.Exit(2) from None
