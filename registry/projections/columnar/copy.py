"""The columnar copy of one process: it follows the log by position and answers questions in worker threads.

The copy is never authoritative. Before a question, the deals that were touched since its position are read from
Postgres in one snapshot and written in one transaction of DuckDB, so an answer holds at a known position and includes
what the caller recorded. Writers pay nothing. A copy that is missing, damaged, of another log or of another schema is
made again from Postgres. All states that a copy can be in are handled in this file; hence its length.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
from duckdb import DuckDBPyConnection

from registry.errors import Overloaded, PortfolioUnavailable
from registry.infra import tasks
from registry.infra.fair_threads import FairThreads
from registry.infra.postgres import Connection, Pool
from registry.infra.work_time import timed_call
from registry.projections.columnar.files import CopyDirectory, disk_failures
from registry.projections.columnar.following import CopyState, Writer, changes_since, write_state
from registry.projections.columnar.loading import load_tables, run_to_end
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.search_index import CREATE_INDEX, index_some
from registry.projections.columnar.tables import CREATE_STATE, CopiedTable, copied_tables, fingerprint

log = logging.getLogger(__name__)
T = TypeVar("T")
CopyQuestion = Callable[[DuckDBPyConnection, QuestionCache], T]

FOLLOW_SECONDS = 0.2
"""How often the copy follows without a question: all events that come until then in one transaction."""
RESTS = 9
"""The copy rests this many times as long as it took to follow and to index the texts, unless there is a question. Most
of that work is the same for one event and for a thousand: one takes 27 ms of processor time, 25,000 of new deals take
345 (20,000 deals, load 1 to 3 on two processors)."""
MAX_REST_SECONDS = 0.5
"""How long it rests at most: the next question has to follow what came meanwhile. At the end of an import of 25,000
events the copy lacked 1,800 of them with 0.4 seconds, and 18,000 with 2 (one run each); with 0.4 the import took the
service 10 % more processor time."""
QUIET_SECONDS = 60.0
"""After so long without a question, the copy follows only when there is a question."""

REBUILT_SECONDS = 5.0
"""After so long a question looks for replaced rows although the log has not grown: a rebuild makes no events."""

PATIENCE_SECONDS = 5.0
"""How long a request waits for the copy or the index of texts: less than it may take (`http/deadline.py`)."""

WORKERS = 4
LONG_WORKERS = 2
MAX_ANSWERS = 64
"""The most cached answers of each kind: those that the next event may change, and those that no later event changes."""

# Errors after which the file is not trusted any more.
DAMAGE = (duckdb.IOException, duckdb.InternalException, duckdb.SerializationException, duckdb.FatalException)

SELECT_HEAD = """
SELECT coalesce(head.position, 0) AS position, head.leaf_hash,
       (SELECT leaf_hash FROM events WHERE position = $1) AS known,
       (SELECT coalesce(max(id), 0) FROM fact_resets) AS reset
  FROM (SELECT 1) AS one
       LEFT JOIN LATERAL (SELECT position, leaf_hash FROM events ORDER BY position DESC LIMIT 1) AS head ON true
"""

SELECT_LAST_POSITION = "SELECT coalesce(max(position), 0) FROM events"


class ColumnarCopy:
    """The copy of the fact tables of one database.

    Args:
        pool: The database that the recorder writes to.
        directory: Where the files are; services may share it.
        patience: Seconds that a question waits for the copy, and for the index of texts; None: as long as they take.
    """

    def __init__(self, pool: Pool, directory: Path, patience: float | None = None) -> None:
        self._pool = pool
        self._patience = patience
        self._parent = directory
        self._directory: CopyDirectory | None = None
        self._connection: DuckDBPyConnection | None = None
        self._writer: Writer | None = None
        self._cache = QuestionCache()
        self._tables: tuple[CopiedTable, ...] = ()
        self._state: CopyState | None = None
        self._lock = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._indexing: asyncio.Task[None] | None = None
        self._indexed: tuple[int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked_at = -math.inf
        self._followed_at = -math.inf
        self._rests_until = -math.inf
        self._threads = FairThreads(WORKERS, "columnar")
        self._long = FairThreads(LONG_WORKERS, "columnar-long")
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._final_answers: OrderedDict[Hashable, Any] = OrderedDict()

    @property
    def pool(self) -> Pool:
        """The database that is copied."""
        return self._pool

    @property
    def position(self) -> int:
        """The position that the copy holds the log up to; 0 before it was opened."""
        return self._state.position if self._state is not None else 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the file once the questions that run have been answered."""
        if self._timer is not None:
            self._timer.cancel()
        await tasks.end(self._following, self._indexing)
        async with self._lock:
            for threads in (self._threads, self._long):
                await asyncio.to_thread(threads.shutdown)
            self._close_writer()
            if self._connection is not None:
                # It frees the tables in memory, which takes 270 ms with 100,000 deals.
                await asyncio.to_thread(self._connection.close)
                self._connection = None
            if self._directory is not None:
                self._directory.close()

    async def head(self) -> int:
        """The last position of the log; 0 if it is empty."""
        return int(await self._pool.fetchval(SELECT_LAST_POSITION))

    async def ask(
        self,
        position: int,
        question: CopyQuestion[T],
        key: Hashable = None,
        *,
        is_final: bool = False,
        is_long: bool = False,
        searches: bool = False,
    ) -> T:
        """Answer a question from a copy that holds the log up to a position or beyond.

        Args:
            position: A position of the log.
            question: Runs in a thread, in a transaction that reads; gets the cache of earlier questions, too.
            key: Identifies the question, so that the answer can be cached while the copy stays where it is.
            is_final: Whether no later event changes the answer, so that it can be cached until the copy is made again.
            is_long: Whether it may take long: it then has threads of its own, so that other questions do not wait.
            searches: Whether it looks at the index of texts.

        Raises:
            PortfolioUnavailable: The copy, or the index of texts, takes longer than questions wait.
            Overloaded: The questions that run now need all the memory that DuckDB may use.
            StorageUnavailable: The copy cannot be written.
        """
        self._asked_at = asyncio.get_running_loop().time()
        await self._wait(self.follow(position), None)
        answers = self._final_answers if is_final else self._answers
        if key is not None and key in answers:
            answers.move_to_end(key)
            cached: T = answers[key]
            return cached
        state = self._state
        try:
            answer = await self._answered(question, position, is_long, searches)
        except DAMAGE as error:
            async with self._lock:
                await self._start_again(error)
            state = self._state
            answer = await self._answered(question, position, is_long, searches)
        except duckdb.OutOfMemoryException as error:
            log.warning("a question found no memory: %s", error)
            raise Overloaded from error
        if key is not None and state is self._state:
            answers[key] = answer
            if len(answers) > MAX_ANSWERS:
                answers.popitem(last=False)
        return answer

    async def follow(self, position: int) -> None:
        """Bring the copy to a position or beyond."""
        # The log may have grown after the work that goes on now has read it.
        for _ in range(2):
            is_recent = asyncio.get_running_loop().time() - self._followed_at < REBUILT_SECONDS
            if self.position >= position and self._state is not None and is_recent:
                return
            if self._following is None or self._following.done():
                self._following = _shared(self._follow())
            # Loading a large copy continues if the client has disconnected, because the next question needs the copy
            # too.
            await asyncio.shield(self._following)

    def start(self) -> None:
        """Begin to load or to follow now, and to index the texts, so that the first question finds it done."""
        self._following = following = _shared(self._follow())
        following.add_done_callback(_report)
        following.add_done_callback(self._index_after)

    def _index_after(self, following: asyncio.Task[None]) -> None:
        if not following.cancelled() and following.exception() is None:
            self._start_index()

    def follow_soon(self) -> None:
        """Follow the log when it has grown, if there were questions lately: the next one then need not wait.

        At once, if the copy has not followed lately. No question relies on this: each first follows to its own
        position.
        """
        loop = asyncio.get_running_loop()
        if self._state is None or loop.time() - self._asked_at > QUIET_SECONDS or self._timer is not None:
            return
        self._timer = loop.call_at(max(self._followed_at + FOLLOW_SECONDS, self._rests_until), self._follow_now)

    def _follow_now(self) -> None:
        self._timer = None
        if self._following is None or self._following.done():
            self.start()

    @contextmanager
    def _then_rests(self) -> Iterator[None]:
        """Rest after this work. A rest that has not ended is extended."""
        time = asyncio.get_running_loop().time
        began = time()
        yield
        ended = time()
        rests_until = max(self._rests_until, ended) + RESTS * (ended - began)
        self._rests_until = min(rests_until, ended + MAX_REST_SECONDS)

    async def _follow(self) -> None:
        async with self._lock:
            with self._then_rests():
                if self._directory is None:
                    await run_to_end(self._open)
                try:
                    await self._catch_up()
                except duckdb.Error as error:
                    await self._start_again(error)

    def _start_index(self) -> asyncio.Task[None]:
        if self._indexing is None or self._indexing.done():
            assert self._connection is not None
            self._indexing = _shared(self._index_all(self._connection))
            self._indexing.add_done_callback(_report)
        return self._indexing

    async def _index_all(self, connection: DuckDBPyConnection) -> None:
        """Index the texts of a file step by step, while it is the file that is asked."""
        while connection is self._connection:
            with self._then_rests():
                indexed = await run_to_end(partial(index_some, connection))
            if indexed is not None:
                if connection is self._connection:
                    self._indexed = indexed
                return

    async def _index(self) -> None:
        """Bring the index of texts to where the copy is, or was when the work that goes on now began."""
        await asyncio.shield(self._start_index())

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _answered(self, question: CopyQuestion[T], position: int, is_long: bool, searches: bool) -> T:
        while searches and not self._is_indexed(position):
            await self._wait(self._index(), "texts")
        return await self._run(question, is_long)

    def _is_indexed(self, position: int) -> bool:
        """Whether the index has the terms of every text up to a position."""
        state, indexed = self._state, self._indexed
        return state is not None and indexed is not None and indexed[0] >= position and indexed[1] == state.reset

    async def _wait(self, work: Awaitable[None], part: str | None) -> None:
        waiting = asyncio.timeout(self._patience)
        try:
            async with waiting:
                await work
        except TimeoutError:
            if waiting.expired():
                raise PortfolioUnavailable(part) from None
            raise

    async def _run(self, question: CopyQuestion[T], is_long: bool) -> T:
        assert self._connection is not None
        cursor = self._connection.cursor()
        try:
            threads = self._long if is_long else self._threads
            return await threads.run(timed_call(_answer, cursor, self._cache, question))
        except asyncio.CancelledError:
            # A read that takes too long, or whose client has left, is cancelled (`http/deadline.py`).
            cursor.interrupt()
            raise

    async def _start_again(self, error: duckdb.Error) -> None:
        """Make the copy again after it could not be read or written."""
        log.warning("the columnar copy is made again: %s", error)
        assert self._directory is not None
        self._state = None
        self._directory.close()
        self._directory = CopyDirectory(self._parent)
        with disk_failures():
            await self._catch_up()

    # --- following ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Take a directory, and the copy in it if there is one."""
        self._directory = CopyDirectory(self._parent)
        self._connection = self._directory.open()
        if self._connection is None:
            return
        try:
            row = self._connection.execute("SELECT fingerprint, position, leaf_hash, reset FROM copied").fetchone()
            self._state = CopyState(*row) if row is not None else None
        except duckdb.Error:
            self._state = None

    async def _catch_up(self) -> None:
        """Read from one snapshot of Postgres what the copy lacks, and write it."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            if not self._tables:
                self._tables = await copied_tables(connection)
            state = self._state
            head = await connection.fetchrow(SELECT_HEAD, state.position if state else 0)
            new = CopyState(fingerprint(self._tables), head["position"], head["leaf_hash"], head["reset"])
            changes = None
            self._followed_at = asyncio.get_running_loop().time()
            if state == new:
                return
            assert self._directory is not None
            if (
                state is not None
                and state.fingerprint == new.fingerprint
                and state.reset <= new.reset
                and (state.position == 0 or state.leaf_hash == head["known"])
            ):
                self._directory.delete_scratch()
                changes = await changes_since(connection, self._tables, state, new, self._directory.scratch)
            if changes is None:
                await self._load(connection, new)
                return
        assert self._connection is not None
        try:
            if self._writer is None:
                self._writer = Writer(self._connection, self._tables)
            written = await run_to_end(partial(self._writer.write, changes))
        finally:
            self._directory.delete_scratch()
        await run_to_end(partial(self._cache.memory.follow, self._connection, written))
        self._answers.clear()
        if changes.replaced:
            self._final_answers.clear()
        self._state = new

    def _adopt(self, connection: DuckDBPyConnection) -> None:
        """Ask the latest file from now on, and delete the others."""
        assert self._directory is not None
        self._close_writer()
        previous, self._connection = self._connection, connection
        self._cache = QuestionCache()
        self._indexed = None
        if previous is not None:
            previous.close()
        self._directory.delete_older()

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # --- loading ------------------------------------------------------------------------------------------------------

    async def _load(self, connection: Connection, state: CopyState) -> None:
        """Make a new file from whole tables."""
        assert self._directory is not None
        new = await run_to_end(self._directory.create)
        try:
            new.execute(CREATE_STATE)
            new.execute(CREATE_INDEX)
            new.execute("BEGIN")
            await load_tables(connection, new, self._tables, self._directory.scratch)
            write_state(new, state)
            await run_to_end(partial(_commit, new))
        except BaseException:
            new.close()
            self._directory.delete_latest()
            raise
        finally:
            self._directory.delete_scratch()
        self._adopt(new)
        self._answers.clear()
        self._final_answers.clear()
        self._state = state


def _shared(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task of its own: it is not part of the work of the request that happens to start it."""
    return asyncio.create_task(work, context=Context())


def _report(work: asyncio.Task[None]) -> None:
    """Log why the copy could not be made at the start; the first question tries again."""
    if not work.cancelled() and (error := work.exception()) is not None:
        log.warning("the columnar copy could not be made: %s", error)


def _commit(connection: DuckDBPyConnection) -> None:
    connection.execute("COMMIT")
    connection.execute("CHECKPOINT")


def _answer(cursor: DuckDBPyConnection, cache: QuestionCache, question: CopyQuestion[T]) -> T:
    """Run a question on one snapshot of the copy."""
    try:
        cursor.execute("BEGIN")
        return question(cursor, cache)
    finally:
        cursor.close()
