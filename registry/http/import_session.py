"""A streaming import: lines in, a result for each line out, while both directions flow.

Each line goes through the recorder's queue like a posted announcement, with low priority. Up to `WINDOW` lines are in
the queue at a time, so that one commit records many. The memory of an import is bounded: results that the client has
not read yet wait in an unnamed file.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog
from litestar.exceptions import InternalServerException
from msgspec import Struct

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult
from registry.domain.principal import Credential, required_scope
from registry.errors import (
    BodyTimeout,
    DatabaseUnavailable,
    IncompleteBody,
    Overloaded,
    RegistryError,
    StorageUnavailable,
    TooLarge,
)
from registry.events import intake
from registry.events.types import AnnouncedKind, Announcement, OrganizationAnnouncement
from registry.http import bodies
from registry.http.bodies import Request
from registry.http.guards import check_scope
from registry.http.problems import PROBLEMS, code_of, extension_members
from registry.i18n import DEFAULT_LANGUAGE, render
from registry.infra import postgres, tasks
from registry.schemas import encode

log = structlog.get_logger(__name__)

# Two batches of the recorder: one in validation or commit, and the lines read meanwhile.
WINDOW = 800

# Lines read before other tasks run. Few, so that lines are read while Postgres commits instead of while a batch is
# validated: with 16, 310 of 400 lines were read before the commit, with 4 only 94, which moves 17 of the 150 µs of
# each line into the wait for the commit.
MAX_LINES_PER_READ = 4

# Results written before other tasks run: a quarter of a millisecond.
MAX_RESULTS_PER_WRITE = 64

# Seconds before the next try while the recorder's queue is full: single posts go before an import.
RETRY_SECONDS = 0.01

# Bytes of results in memory; more are in a file.
MAX_BUFFERED_BYTES = 2**20
CHUNK_BYTES = 2**16


class NumberedLine(Struct, frozen=True):
    """A line's number, from 1, and its bytes; None if it is larger than a body may be."""

    number: int
    text: bytes | None


class _PendingLine(Struct, frozen=True):
    """A line's request, and its result: still pending, or an error."""

    line: int
    request: AppendRequest | None
    outcome: asyncio.Future[list[AppendResult]] | RegistryError


async def body_lines(request: Request) -> AsyncIterator[NumberedLine]:
    """Yield the lines of a body as they arrive. Empty lines have a number but are left out.

    Raises:
        IncompleteBody, BodyTimeout: The rest of the body did not arrive.
    """
    number = 1
    pending: list[bytes] = []
    size = 0
    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(bodies.BODY_SECONDS):
                chunk = await anext(chunks, b"")
        except TimeoutError:
            raise BodyTimeout(seconds=f"{bodies.BODY_SECONDS:g}") from None
        except InternalServerException:
            raise IncompleteBody from None
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            size += len(part)
            if size > bodies.BODY_LIMIT:
                yield NumberedLine(number, None)
            elif text := b"".join([*pending, part]).strip():
                yield NumberedLine(number, text)
            number += 1
            pending, size = [], 0
        size += len(rest)
        # The content of a line that is too large is not kept.
        pending = [*pending, rest] if size <= bodies.BODY_LIMIT else []
        if not chunk:
            break
    if size > bodies.BODY_LIMIT:
        yield NumberedLine(number, None)
    elif text := b"".join(pending).strip():
        yield NumberedLine(number, text)


def import_line(line: NumberedLine) -> tuple[AnnouncedKind, str, Announcement | OrganizationAnnouncement]:
    """Return the kind and the slug of the stream of a line, and its announcement.

    Raises:
        TooLarge, NotJson, Invalid: A post of the announcement would be refused in the same way.
    """
    if line.text is None:
        raise TooLarge(limit=bodies.BODY_LIMIT)
    return intake.import_line(line.text)


def decode_line(
    line: NumberedLine, key: Credential, *, low_priority: bool = True, shows_state: bool = True
) -> AppendRequest:
    """Return a line as a request to the recorder.

    Raises:
        TooLarge, NotJson, Invalid, Forbidden: A post of the announcement would be refused in the same way.
    """
    kind, slug, announcement = import_line(line)
    check_scope(key, required_scope(announcement.event))
    return AppendRequest(
        kind=kind,
        slug=slug,
        announcements=(announcement,),
        by=key.id,
        credential=key,
        size=len(line.text or b""),
        low_priority=low_priority,
        shows_state=shows_state,
    )


class ImportSession:
    """One running import."""

    def __init__(
        self,
        recorder: Recorder,
        key: Credential,
        stopping: asyncio.Event,
        language: str = DEFAULT_LANGUAGE,
        *,
        shows_state: bool = True,
    ) -> None:
        self._recorder = recorder
        self._key = key
        self._stopping = stopping
        self._language = language
        self._shows_state = shows_state
        self._window: asyncio.Queue[_PendingLine | None] = asyncio.Queue(WINDOW)
        self._results = _ResultBuffer()

    async def run(self, lines: AsyncIterator[NumberedLine]) -> AsyncIterator[bytes]:
        """Record the lines and yield their results; reading and writing do not wait for each other."""
        reading = asyncio.create_task(self._read(lines))
        working = [reading, asyncio.create_task(self._write_results()), asyncio.create_task(self._stop(reading))]
        try:
            async for chunk in self._results.read():
                yield chunk
        finally:
            await tasks.end(*working)
            while not self._window.empty():
                # The recorder finishes these lines after the client has gone; their results are not read.
                pending = self._window.get_nowait()
                if pending is not None and isinstance(pending.outcome, asyncio.Future):
                    pending.outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._results.close()

    async def _read(self, lines: AsyncIterator[NumberedLine]) -> None:
        number = 0
        try:
            async for line in lines:
                number = line.number
                await self._window.put(await self._submit(line))
                if number % MAX_LINES_PER_READ == 0:
                    await asyncio.sleep(0)
        except RegistryError as error:
            # The lines that have arrived are recorded; the last result says why there are no more.
            await self._window.put(_PendingLine(number + 1, None, error))
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            await self._window.put(_PendingLine(number + 1, None, Overloaded("stopping")))
        finally:
            await self._window.put(None)

    async def _stop(self, reading: asyncio.Task[None]) -> None:
        """End the reading once the service stops: a stopping service waits for its open responses."""
        await self._stopping.wait()
        reading.cancel()

    async def _submit(self, line: NumberedLine) -> _PendingLine:
        try:
            request = decode_line(line, self._key, shows_state=self._shows_state)
        except RegistryError as error:
            return _PendingLine(line.number, None, error)
        while True:
            try:
                outcome = self._recorder.submit((request,))
            except Overloaded as error:
                if not self._recorder.is_running:
                    return _PendingLine(line.number, request, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return _PendingLine(line.number, request, outcome)

    async def _write_results(self) -> None:
        """Write results once they are known: many at once, and none waits for a later one."""
        results: list[bytes] = []
        pending: _PendingLine | None
        try:
            while True:
                if self._window.empty():
                    self._flush(results)
                if (pending := await self._window.get()) is None:
                    break
                if isinstance(pending.outcome, asyncio.Future) and not pending.outcome.done():
                    self._flush(results)
                results.append(encode(await _result(pending, self._language)))
                if pending.line % MAX_RESULTS_PER_WRITE == 0:
                    await asyncio.sleep(0)
        finally:
            self._flush(results)
            self._results.end()

    def _flush(self, results: list[bytes]) -> None:
        if results:
            self._results.write(b"\n".join([*results, b""]))
            results.clear()


async def _result(pending: _PendingLine, language: str) -> dict[str, Any]:
    """Return the result of a line, once it is known."""
    try:
        if isinstance(pending.outcome, RegistryError):
            raise pending.outcome
        [result] = await pending.outcome
        assert pending.request is not None
        return line_result(pending.line, pending.request, result)
    except RegistryError as error:
        return _line_error(pending.line, pending.request, error, language)
    except Exception as error:
        return _line_error(pending.line, pending.request, _internal_error(error), language)


class _DryRunAnswer(Struct, frozen=True):
    """What a dry run repeats of the answer to a post."""

    changes: msgspec.Raw


_changes = msgspec.json.Decoder(_DryRunAnswer)


def line_result(number: int, request: AppendRequest, result: AppendResult) -> dict[str, Any]:
    """Return the result of a line that was recorded, or would be."""
    [event] = result.events
    fields: dict[str, Any] = {
        "line": number,
        "status": 201 if result.new else 200,
        request.kind: request.slug,
        "id": event.id,
        "version": event.version,
        "position": event.position,
        "recorded_at": event.recorded_at,
    }
    if not request.low_priority:
        fields["changes"] = _changes.decode(result.response).changes
    if result.flags:
        fields["flags"] = result.flags
    return fields


def _line_error(number: int, request: AppendRequest | None, error: RegistryError, language: str) -> dict[str, Any]:
    code = code_of(error)
    return {
        "line": number,
        "status": PROBLEMS[code].status,
        **({request.kind: request.slug} if request else {}),
        "code": code,
        "detail": render(error.message, language),
        **extension_members(error, language),
    }


def _internal_error(error: Exception) -> RegistryError:
    """Return the error that a client gets for an exception that is not the line's fault; log a bug."""
    if postgres.is_storage_failure(error):
        log.error("storage failure", error=str(error) or type(error).__name__)
        return StorageUnavailable()
    if postgres.is_connection_lost(error):
        return DatabaseUnavailable()
    log.error("import line failed", exc_info=error)
    return RegistryError()


class _ResultBuffer:
    """Results that the client has not read yet, in order: in memory while they are few."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(MAX_BUFFERED_BYTES)  # noqa: SIM115 - closed by close()
        self._written_bytes = self._read_bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    def write(self, data: bytes) -> None:
        if self._read_bytes == self._written_bytes:
            self._file.seek(0)
            self._file.truncate()
            self._read_bytes = self._written_bytes = 0
        self._file.seek(self._written_bytes)
        self._file.write(data)
        self._written_bytes += len(data)
        self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        self._file.close()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what is written, as soon as it is, until the end."""
        while True:
            if self._read_bytes < self._written_bytes:
                self._file.seek(self._read_bytes)
                chunk = self._file.read(min(CHUNK_BYTES, self._written_bytes - self._read_bytes))
                self._read_bytes += len(chunk)
                yield chunk
            elif self._ended:
                return
            else:
                self._changed.clear()
                await self._changed.wait()
