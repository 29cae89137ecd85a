"""Many announcements at once over HTTP: NDJSON in, a result a line out, both streamed.

Each line goes the way that a posted announcement goes, through the recorder's queue: what the registry refuses of a
single post it refuses of a line, and the rest goes on. Up to `WINDOW` lines are on their way at a time, so that one
commit serves many; results come in the order of the lines. However long the import, no more than that is held: results
that nobody reads yet wait in a file that has no name.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog
from litestar import Response, post
from litestar.exceptions import InternalServerException
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from msgspec import Struct

from registry.api import parameters
from registry.api.deals import required_scope
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.api.problems import PROBLEMS, code_of, extension_members, problem
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest as Record
from registry.append.requests import AppendResult, SubmissionError
from registry.errors import (
    BodyTimeout,
    DatabaseUnavailable,
    FieldError,
    IncompleteBody,
    Invalid,
    NotJson,
    Overloaded,
    RegistryError,
    TooLarge,
)
from registry.events import intake
from registry.infra import postgres
from registry.infra.keys import Key
from registry.schemas import encode

log = structlog.get_logger(__name__)

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")

# Two of the recorder's groups, of which one is judged while the other is written, and what is read meanwhile.
WINDOW = 700

# Lines that are read, and told, before others get their turn: a quarter of a millisecond of either. Among them are the
# bytes of the group that is being written, which wait for each turn to go on.
MAX_LINES_PER_READ = 16
MAX_RESULTS_PER_WRITE = 64

# Seconds between two tries while the recorder's queue is full: single posts go before an import.
PAUSE = 0.01

# Results that wait to be read are in memory up to this size, then in the file.
IN_MEMORY = 2**20

PIECE = 2**16

ASKED = {"atomic": parameters.flag, "dry_run": parameters.flag}


class NumberedLine(Struct, frozen=True):
    """A line's number, from 1, and its bytes; None where it is larger than a body may be."""

    number: int
    text: bytes | None


class _PendingLine(Struct, frozen=True):
    """What a line was read as, and what becomes of it: on its way, or refused."""

    line: int
    request: Record | None
    outcome: asyncio.Future[list[AppendResult]] | RegistryError


@post("/v1/import", status_code=200)
async def post_import(request: Request) -> ASGIResponse:
    """Record many announcements, one a line, each with its `deal` (or `organization`).

    The answer has a line for each line, in their order: `status` is what the announcement would have been answered with
    by itself. What is refused is told and the rest goes on. With `atomic=true` all are recorded or none, a refusal
    answers for them all, and the body may have 8 MiB; `dry_run=true` is atomic and records nothing.
    """
    key = await parameters.authenticate(request) or await parameters.authorize(request, "record")
    asked = parameters.query(request, ASKED)
    recorder = request.app.state.registry.recorder
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    parameters.require_content_type(request, kind if kind in NDJSON else NDJSON[0])
    if asked.get("atomic") or asked.get("dry_run"):
        answer = await _import_atomically(request, recorder, key, kind, dry_run=asked.get("dry_run", False))
        return answer.to_asgi_response(None, request)
    running = ImportSession(recorder, key)
    return _DuplexResponse(
        iterator=running.answer(_lines(request)),
        media_type="application/x-ndjson",
        status_code=200,
        headers={"Cache-Control": "no-store"},
    )


class _DuplexResponse(ASGIStreamingResponse):
    """A streamed answer that leaves what the client sends to whoever makes it."""

    async def send_body(self, send: Any, receive: Any) -> None:
        await self._stream(send)


async def _lines(request: Request) -> AsyncIterator[NumberedLine]:
    """The body's lines as they arrive; empty ones count but are left out. Raises Incomplete and TooSlow."""
    number = 1
    pending: list[bytes] = []
    size = 0
    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(parameters.BODY_SECONDS):
                chunk = await anext(chunks, b"")
        except TimeoutError:
            raise BodyTimeout(seconds=f"{parameters.BODY_SECONDS:g}") from None
        except InternalServerException:
            raise IncompleteBody from None
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            size += len(part)
            if size > parameters.BODY_LIMIT:
                yield NumberedLine(number, None)
            elif text := b"".join([*pending, part]).strip():
                yield NumberedLine(number, text)
            number += 1
            pending, size = [], 0
        size += len(rest)
        # Of what is too large no more is kept than that it is.
        pending = [*pending, rest] if size <= parameters.BODY_LIMIT else []
        if not chunk:
            break
    if size > parameters.BODY_LIMIT:
        yield NumberedLine(number, None)
    elif text := b"".join(pending).strip():
        yield NumberedLine(number, text)


def read(line: NumberedLine, key: Key, *, bulk: bool = True) -> Record:
    """A line as a request of the recorder. Raises what a single post is refused for."""
    if line.text is None:
        raise TooLarge(limit=parameters.BODY_LIMIT)
    kind, slug, announcement = intake.import_line(line.text)
    parameters.require_scope(key, required_scope(announcement.event))
    return Record(
        kind=kind, slug=slug, announcements=(announcement,), by=key.id, size=len(line.text), low_priority=bulk
    )


class ImportSession:
    """One import while it runs."""

    def __init__(self, recorder: Recorder, key: Key) -> None:
        self._recorder = recorder
        self._key = key
        self._window: asyncio.Queue[_PendingLine | None] = asyncio.Queue(WINDOW)
        self._spool = _ResultBuffer()

    async def answer(self, lines: AsyncIterator[NumberedLine]) -> AsyncIterator[bytes]:
        """Takes the lines in while it gives their results out: neither waits for the other."""
        tasks = [asyncio.create_task(self._take(lines)), asyncio.create_task(self._write_results())]
        try:
            async for piece in self._spool.read():
                yield piece
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while not self._window.empty():
                # What is on its way will be recorded or refused, though nobody is left to be told.
                told = self._window.get_nowait()
                if told is not None and isinstance(told.outcome, asyncio.Future):
                    told.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._spool.close()

    async def _take(self, lines: AsyncIterator[NumberedLine]) -> None:
        number = 0
        try:
            async for line in lines:
                number = line.number
                await self._window.put(await self._submit(line))
                if number % MAX_LINES_PER_READ == 0:
                    await asyncio.sleep(0)
        except RegistryError as error:
            # What has arrived was taken; what is told of the rest is why there is none.
            await self._window.put(_PendingLine(number + 1, None, error))
        finally:
            await self._window.put(None)

    async def _submit(self, line: NumberedLine) -> _PendingLine:
        try:
            request = read(line, self._key)
        except RegistryError as refused:
            return _PendingLine(line.number, None, refused)
        while True:
            try:
                outcome = self._recorder.submit((request,))
            except Overloaded as error:
                if not self._recorder.is_running:
                    return _PendingLine(line.number, request, error)
                await asyncio.sleep(PAUSE)
            else:
                return _PendingLine(line.number, request, outcome)

    async def _write_results(self) -> None:
        """Writes results as they are settled: many at once, and none waits for one that is not."""
        settled: list[bytes] = []
        told: _PendingLine | None
        try:
            while True:
                if self._window.empty():
                    self._flush(settled)
                if (told := await self._window.get()) is None:
                    break
                if isinstance(told.outcome, asyncio.Future) and not told.outcome.done():
                    self._flush(settled)
                settled.append(encode(await _result(told)))
                if told.line % MAX_RESULTS_PER_WRITE == 0:
                    await asyncio.sleep(0)
        finally:
            self._flush(settled)
            self._spool.end()

    def _flush(self, settled: list[bytes]) -> None:
        if settled:
            self._spool.write(b"\n".join([*settled, b""]))
            settled.clear()


async def _result(told: _PendingLine) -> dict[str, Any]:
    """What is told of a line, once that is settled."""
    try:
        if isinstance(told.outcome, RegistryError):
            raise told.outcome
        [outcome] = await told.outcome
        assert told.request is not None
        return _done(told.line, told.request, outcome)
    except RegistryError as refused:
        return _refused(told.line, told.request, refused)
    except Exception as error:
        return _refused(told.line, told.request, _is_internal_error(error))


class _DryRunResponse(Struct, frozen=True):
    """Of the answer to a single post, what a dry run repeats."""

    changes: msgspec.Raw


_answer = msgspec.json.Decoder(_DryRunResponse)


def _done(number: int, request: Record, outcome: AppendResult) -> dict[str, Any]:
    [event] = outcome.events
    result: dict[str, Any] = {
        "line": number,
        "status": 201 if outcome.new else 200,
        request.kind: request.slug,
        "id": event.id,
        "version": event.version,
        "position": event.position,
        "recorded_at": event.recorded_at,
    }
    if not request.low_priority:
        result["changes"] = _answer.decode(outcome.response).changes
    if outcome.flags:
        result["flags"] = outcome.flags
    return result


def _refused(number: int, request: Record | None, error: RegistryError) -> dict[str, Any]:
    code = code_of(error)
    known: dict[str, Any] = {request.kind: request.slug} if request else {}
    return {
        "line": number,
        "status": PROBLEMS[code].status,
        **known,
        "code": code,
        "detail": str(error),
        **extension_members(error),
    }


def _is_internal_error(error: Exception) -> RegistryError:
    """A fault that is not the line's: a lost database, or one of ours, which is logged."""
    if postgres.is_connection_lost(error):
        return DatabaseUnavailable()
    log.error("a line failed", exc_info=error)
    return RegistryError()


class _ResultBuffer:
    """Results between the import and whoever reads them, in order: in memory while they are few."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by close()
        self._written = self._read = 0
        self._ended = False
        self._news = asyncio.Event()

    def write(self, data: bytes) -> None:
        if self._read == self._written:
            self._file.seek(0)
            self._file.truncate()
            self._read = self._written = 0
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    def close(self) -> None:
        self._file.close()

    async def read(self) -> AsyncIterator[bytes]:
        """What was written, as soon as it is, until the end."""
        while True:
            if self._read < self._written:
                self._file.seek(self._read)
                piece = self._file.read(min(PIECE, self._written - self._read))
                self._read += len(piece)
                yield piece
            elif self._ended:
                return
            else:
                self._news.clear()
                await self._news.wait()


async def _import_atomically(
    asked: Request, recorder: Recorder, key: Key, content_type: str, *, dry_run: bool
) -> Response[bytes]:
    """All lines as one: recorded whole, or refused with the number of the line that is in the way."""
    body = await parameters.body(asked, content_type)
    lines = [NumberedLine(n, text) for n, line in enumerate(body.split(b"\n"), 1) if (text := line.strip())]
    requests: list[Record] = []
    faults: list[FieldError] = []
    for line in lines:
        try:
            requests.append(read(line, key, bulk=not dry_run))
        except Invalid as error:
            faults += [fault.at(f"/{line.number - 1}{fault.pointer}") for fault in error.field_errors]
        except NotJson as error:
            raise NotJson(error.field_error, line.number) from None
    if not lines:
        faults = [FieldError("", "no_line")]
    if faults:
        raise Invalid(faults)
    try:
        outcomes = await recorder.record_all(requests, dry_run=dry_run)
    except SubmissionError as refused:
        line = lines[refused.number]
        more = {**extension_members(refused.error), "line": line.number}
        return problem(asked, code_of(refused.error), f"Line {line.number}: {refused.error}", **more)
    text = b"".join(
        encode(_done(line.number, request, outcome)) + b"\n"
        for line, request, outcome in zip(lines, requests, outcomes, strict=True)
    )
    return Response(text, status_code=200, media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


OPERATIONS = (
    Operation(
        handler=post_import,
        tag="Log",
        query=ASKED,
        body=intake.ImportLine,
        body_type="application/x-ndjson",
        other={"application/x-ndjson": "A result for each line that was sent, in their order."},
        scope="record",
    ),
)
