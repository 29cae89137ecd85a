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

from registry import postgres
from registry.answers import encode
from registry.api import http
from registry.api.deals import scope_of
from registry.api.http import Request
from registry.api.operation import Operation
from registry.api.problems import PROBLEMS, code_of, particulars, problem
from registry.draft import AtRequest, Outcome
from registry.draft import Request as Record
from registry.errors import (
    DatabaseLost,
    Fault,
    Incomplete,
    Invalid,
    NotJson,
    Overloaded,
    RegistryError,
    TooLarge,
    TooSlow,
)
from registry.events import intake
from registry.keys import Key
from registry.recorder import Recorder

log = structlog.get_logger(__name__)

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")

# Two of the recorder's groups, of which one is judged while the other is written, and what is read meanwhile.
WINDOW = 700

# Lines that are read, and told, before others get their turn: a quarter of a millisecond of either. Among them are the
# bytes of the group that is being written, which wait for each turn to go on.
READ_AT_ONCE = 16
TOLD_AT_ONCE = 64

# Seconds between two tries while the recorder's queue is full: single posts go before an import.
PAUSE = 0.01

# Results that wait to be read are in memory up to this size, then in the file.
IN_MEMORY = 2**20

PIECE = 2**16

ASKED = {"atomic": http.flag, "dry_run": http.flag}


class Line(Struct, frozen=True):
    """A line's number, from 1, and its bytes; None where it is larger than a body may be."""

    number: int
    text: bytes | None


class _Told(Struct, frozen=True):
    """What a line was read as, and what becomes of it: on its way, or refused."""

    line: int
    request: Record | None
    outcome: asyncio.Future[list[Outcome]] | RegistryError


@post("/v1/import", status_code=200)
async def post_import(request: Request) -> ASGIResponse:
    """Record many announcements, one a line, each with its `deal` (or `organization`).

    The answer has a line for each line, in their order: `status` is what the announcement would have been answered with
    by itself. What is refused is told and the rest goes on. With `atomic=true` all are recorded or none, a refusal
    answers for them all, and the body may have 8 MiB; `dry_run=true` is atomic and records nothing.
    """
    key = await http.identify(request) or await http.authorize(request, "record")
    asked = http.query(request, ASKED)
    recorder = request.app.state.registry.recorder
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    http.expect(request, kind if kind in NDJSON else NDJSON[0])
    if asked.get("atomic") or asked.get("dry_run"):
        answer = await _together(request, recorder, key, kind, dry_run=asked.get("dry_run", False))
        return answer.to_asgi_response(None, request)
    running = Import(recorder, key)
    return _Duplex(
        iterator=running.answer(_lines(request)),
        media_type="application/x-ndjson",
        status_code=200,
        headers={"Cache-Control": "no-store"},
    )


class _Duplex(ASGIStreamingResponse):
    """A streamed answer that leaves what the client sends to whoever makes it."""

    async def send_body(self, send: Any, receive: Any) -> None:
        await self._stream(send)


async def _lines(request: Request) -> AsyncIterator[Line]:
    """The body's lines as they arrive; empty ones count but are left out. Raises Incomplete and TooSlow."""
    number = 1
    pending: list[bytes] = []
    size = 0
    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(http.BODY_SECONDS):
                chunk = await anext(chunks, b"")
        except TimeoutError:
            raise TooSlow(seconds=http.BODY_SECONDS) from None
        except InternalServerException:
            raise Incomplete from None
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            size += len(part)
            if size > http.BODY_LIMIT:
                yield Line(number, None)
            elif text := b"".join([*pending, part]).strip():
                yield Line(number, text)
            number += 1
            pending, size = [], 0
        size += len(rest)
        # Of what is too large no more is kept than that it is.
        pending = [*pending, rest] if size <= http.BODY_LIMIT else []
        if not chunk:
            break
    if size > http.BODY_LIMIT:
        yield Line(number, None)
    elif text := b"".join(pending).strip():
        yield Line(number, text)


def read(line: Line, key: Key, *, bulk: bool = True) -> Record:
    """A line as a request of the recorder. Raises what a single post is refused for."""
    if line.text is None:
        raise TooLarge(limit=http.BODY_LIMIT)
    kind, slug, announcement = intake.import_line(line.text)
    http.allow(key, scope_of(announcement.event))
    return Record(kind=kind, slug=slug, announcements=(announcement,), by=key.id, size=len(line.text), bulk=bulk)


class Import:
    """One import while it runs."""

    def __init__(self, recorder: Recorder, key: Key) -> None:
        self._recorder = recorder
        self._key = key
        self._window: asyncio.Queue[_Told | None] = asyncio.Queue(WINDOW)
        self._spool = _Spool()

    async def answer(self, lines: AsyncIterator[Line]) -> AsyncIterator[bytes]:
        """Takes the lines in while it gives their results out: neither waits for the other."""
        tasks = [asyncio.create_task(self._take(lines)), asyncio.create_task(self._tell())]
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

    async def _take(self, lines: AsyncIterator[Line]) -> None:
        number = 0
        try:
            async for line in lines:
                number = line.number
                await self._window.put(await self._submit(line))
                if number % READ_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except RegistryError as error:
            # What has arrived was taken; what is told of the rest is why there is none.
            await self._window.put(_Told(number + 1, None, error))
        finally:
            await self._window.put(None)

    async def _submit(self, line: Line) -> _Told:
        try:
            request = read(line, self._key)
        except RegistryError as refused:
            return _Told(line.number, None, refused)
        while True:
            try:
                outcome = self._recorder.submit((request,))
            except Overloaded as error:
                if not self._recorder.alive:
                    return _Told(line.number, request, error)
                await asyncio.sleep(PAUSE)
            else:
                return _Told(line.number, request, outcome)

    async def _tell(self) -> None:
        """Writes results as they are settled: many at once, and none waits for one that is not."""
        settled: list[bytes] = []
        told: _Told | None
        try:
            while True:
                if self._window.empty():
                    self._flush(settled)
                if (told := await self._window.get()) is None:
                    break
                if isinstance(told.outcome, asyncio.Future) and not told.outcome.done():
                    self._flush(settled)
                settled.append(encode(await _result(told)))
                if told.line % TOLD_AT_ONCE == 0:
                    await asyncio.sleep(0)
        finally:
            self._flush(settled)
            self._spool.end()

    def _flush(self, settled: list[bytes]) -> None:
        if settled:
            self._spool.write(b"\n".join([*settled, b""]))
            settled.clear()


async def _result(told: _Told) -> dict[str, Any]:
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
        return _refused(told.line, told.request, _of_ours(error))


class _Answer(Struct, frozen=True):
    """Of the answer to a single post, what a dry run repeats."""

    changes: msgspec.Raw


_answer = msgspec.json.Decoder(_Answer)


def _done(number: int, request: Record, outcome: Outcome) -> dict[str, Any]:
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
    if not request.bulk:
        result["changes"] = _answer.decode(outcome.answer).changes
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
        **particulars(error),
    }


def _of_ours(error: Exception) -> RegistryError:
    """A fault that is not the line's: a lost database, or one of ours, which is logged."""
    if postgres.is_lost(error):
        return DatabaseLost()
    log.error("a line failed", exc_info=error)
    return RegistryError()


class _Spool:
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


async def _together(
    asked: Request, recorder: Recorder, key: Key, content_type: str, *, dry_run: bool
) -> Response[bytes]:
    """All lines as one: recorded whole, or refused with the number of the line that is in the way."""
    body = await http.body(asked, content_type)
    lines = [Line(n, text) for n, line in enumerate(body.split(b"\n"), 1) if (text := line.strip())]
    requests: list[Record] = []
    faults: list[Fault] = []
    for line in lines:
        try:
            requests.append(read(line, key, bulk=not dry_run))
        except Invalid as error:
            faults += [Fault(f"/{line.number - 1}{fault.pointer}", fault.detail) for fault in error.faults]
        except NotJson as error:
            raise NotJson(**{**error.facts, "reason": f"line {line.number}: {error.facts['reason']}"}) from None
    if not lines:
        faults = [Fault("", "there is no line: give at least one announcement")]
    if faults:
        raise Invalid(faults)
    try:
        outcomes = await recorder.record_together(requests, dry_run=dry_run)
    except AtRequest as refused:
        line = lines[refused.number]
        more = {**particulars(refused.error), "line": line.number}
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
