"""Sends the lines of an import to the service, in order, and takes the result of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from registry.client import ApiError, Client

CHUNK_BYTES = 2**16

PIECE_BYTES = 2 * 2**20
"""Bytes of lines that a dry run, or an import to review, sends at a time. A deal's lines are in one piece."""

RETRY_SECONDS = (1, 2, 4, 8)
"""Waits before lines that failed by no fault of theirs are sent again."""


class Line(Struct, frozen=True, gc=False):
    """A line of an import: its deal, its content, and the sheet and row that it comes from."""

    sheet: str
    row: int
    slug: str
    content: bytes


Lines = Callable[[], Iterator[Line]]
"""The lines, from the start each time."""

Take = Callable[[Line, dict[str, Any]], None]


def send(service: Client, lines: Lines, take: Take) -> None:
    """Record lines; `take` gets each line with its result. A line that fails for a moment is sent again."""
    failed = _send_once(service, lines, take)
    for seconds in RETRY_SECONDS:
        if not failed:
            return
        time.sleep(seconds)
        failed = _send_once(service, _only(lines, failed), take)
    for line in _only(lines, failed)():
        take(line, {"status": 503, "detail": "503"})


def _only(lines: Lines, wanted: set[Line]) -> Lines:
    return lambda: (line for line in lines() if line in wanted)


def _send_once(service: Client, lines: Lines, take: Take) -> set[Line]:
    """Send lines and return those that failed by no fault of theirs. Results come in the order of the lines."""
    failed: set[Line] = set()
    for line, result in zip(lines(), service.import_lines(_chunks(lines())), strict=False):
        if result["status"] >= 500:
            failed.add(line)
        else:
            take(line, result)
    return failed


def _chunks(lines: Iterable[Line]) -> Iterator[bytes]:
    size, parts = 0, []
    for line in lines:
        parts.append(line.content)
        size += len(line.content)
        if size > CHUNK_BYTES:
            yield b"\n".join([*parts, b""])
            size, parts = 0, []
    yield b"\n".join([*parts, b""])


def try_out(service: Client, lines: Lines, take: Take) -> None:
    """Preview lines in pieces, each with all lines of its deals; `take` gets each line with its result.

    A piece that is refused gives one result with the status and the detail of the line that is the reason.
    """
    for piece in _pieces(lines()):
        body = b"\n".join(line.content for line in piece)
        try:
            for line, result in zip(piece, service.import_atomically(body, dry_run=True), strict=True):
                take(line, result)
        except ApiError as error:
            problem = error.problem
            if not problem.line and not problem.errors:
                raise
            number = problem.line or int(problem.errors[0].pointer.split("/")[1]) + 1
            take(piece[number - 1], msgspec.json.decode(error.content))


def propose(service: Client, lines: Lines, take: Take) -> None:
    """Send all lines to review as one submission, in pieces; `take` gets each line with its result."""
    results = propose_pieces(service, ([line.content for line in piece] for piece in _pieces(lines())))
    for line, result in zip(lines(), results, strict=True):
        take(line, result)


def propose_pieces(service: Client, pieces: Iterable[list[bytes]]) -> Iterator[dict[str, Any]]:
    """Send pieces of lines to review, all as one submission. Yields the result of each line."""
    submission: str | None = None
    for piece in pieces:
        if piece:
            for result in service.import_atomically(b"\n".join(piece), propose=True, submission=submission):
                if result["status"] == 201:
                    submission = result["submission"]
                yield result


def _pieces(lines: Iterable[Line]) -> Iterator[list[Line]]:
    piece: list[Line] = []
    size = 0
    for line in lines:
        if piece and size > PIECE_BYTES and line.slug != piece[-1].slug:
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += len(line.content)
    if piece:
        yield piece
