"""The only writer: takes announcements, gives them positions, and commits them in groups.

Everything that comes while a group is on its way to the disk is the next group, judged meanwhile and committed as one
transaction under the log's lock: under load one fsync serves hundreds of requests; alone, a request waits for nobody.
Each member of a group is judged on its own, in order, on the log's true end; one that is refused fails alone. What is
acknowledged is committed, with the views that show it. It never answers questions, and never records what the deal's
rules refuse.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog
from msgspec import Struct

from registry.append.batch import AppendRequest, AppendResult, Batch, Submission
from registry.errors import DatabaseUnavailable, Overloaded, RedactionUnavailable, RegistryError
from registry.events import store
from registry.events.codec import stream_name
from registry.events.store import Connection, Head, HeadMoved, Pool, WriteBatch, log_transaction
from registry.events.types import EventRedacted
from registry.infra import postgres
from registry.projections.projection import AppliedChange
from registry.projections.stream_cache import StreamCache
from registry.transparency.merkle import Frontier

log = structlog.get_logger(__name__)

# What may wait: beyond it the recorder sheds load (503) before memory grows.
MAX_QUEUED_REQUESTS = 5_000
MAX_QUEUED_BYTES = 64 * 2**20

# Events of one transaction: long enough to share an fsync widely, short enough to keep its lock briefly. Fewer where an
# import's lines are among them: it takes no longer for that, and whoever posts meanwhile waits a third of the time.
MAX_BATCH_EVENTS = 1_000
MAX_IMPORT_BATCH_EVENTS = 250

# Of a group that single requests fill, so many events are an import's all the same: it goes on, slowly.
MIN_IMPORT_EVENTS = 20

# Idempotency keys are promised for 24 hours. What is older goes some rows at a time, apart from the appends.
IDEMPOTENCY_RETENTION = timedelta(hours=48)
PURGE_BATCH_SIZE = 5_000

# Seconds between two NOTIFYs: each takes a lock of the whole server, and whoever listens reads all that has come since.
NOTIFY_INTERVAL_SECONDS = 0.05

# Beyond this many events by others, the tree's edge is read anew rather than grown.
MAX_INCREMENTAL_EVENTS = 10_000

# The log's last event, and what was answered to the keys of a group: one trip to the database for both.
SELECT_HEAD_AND_IDEMPOTENCY = f"""
SELECT h.position, h.leaf_hash, h.recorded_at, i.owner, i.key, i.request, i.answer
  FROM (SELECT) AS always
       LEFT JOIN ({store.HEAD}) AS h ON true
       LEFT JOIN (
           SELECT owner, key, request, answer
             FROM unnest($1::text[], $2::text[]) AS k (owner, key) JOIN idempotency USING (owner, key)
       ) AS i ON true
"""  # noqa: S608 - put together from constants

INSERT_IDEMPOTENCY_RECORDS = """
remembered AS (
    INSERT INTO idempotency (owner, key, request, answer, stream, created_at)
    SELECT owner, key, request, answer, stream, created_at
      FROM unnest($1::new_answer[])
)
"""

DELETE_EXPIRED_IDEMPOTENCY = """
DELETE FROM idempotency
 WHERE (owner, key) IN (SELECT owner, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2)
"""
# After an erasure: what changed goes out of the answers, and the requests' digests, from which a short secret could be
# guessed, go too. The rest stays: a retry must still find that it was recorded.
REDACT_STORED_RESPONSES = """
UPDATE idempotency
   SET answer = convert_to((convert_from(answer, 'UTF8')::jsonb - 'changes' - 'flags')::text, 'UTF8'), request = ''
 WHERE stream = $1
"""

# It may be lost in a crash, so it need not wait for the disk.
NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('registry', $1)"


class _QueuedSubmission(Submission, kw_only=True):
    """What is asked, and who waits for its outcome."""

    done: asyncio.Future[list[AppendResult]]


class _Flight(Struct):
    """A group on its way: what the next one's draft is begun on, until it is in the log, or is known not to be."""

    group: Sequence[_QueuedSubmission]
    draft: Batch | None
    landed: bool = False
    task: asyncio.Task[None] | None = None


class Recorder:
    """One per process; several processes may run one each against one database, ordered by the log's lock."""

    def __init__(
        self, pool: Pool, owner: Pool | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._clock = clock
        self._queue: deque[_QueuedSubmission] = deque()
        # Those of imports, which let all others go first.
        self._import_queue: deque[_QueuedSubmission] = deque()
        self._queued_bytes = 0
        # Set by whatever the recorder may have waited for: a request, or the end of a flight.
        self._work_available = asyncio.Event()
        # How many are in the group that is being judged.
        self._batch_size = 0
        self._closing = False
        self._histories = StreamCache()
        self._head: Head | None = None
        # Whether nobody else has written since this process last looked under the lock.
        self._is_sole_writer = False
        self._frontier = Frontier()
        self._task: asyncio.Task[None] | None = None
        self._keys_deleted_at = datetime.min.replace(tzinfo=UTC)
        self._notify_requested = asyncio.Event()
        self._notify_task: asyncio.Task[None] | None = None
        self.commit_listeners: list[Callable[[Head], None]] = []
        self.last_batch_size = 0

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self._commit_loop(), name="recorder")
        self._notify_task = asyncio.create_task(self._notify_loop(), name="notifier")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Commits what waits, then stops."""
        self._closing = True
        self._work_available.set()
        if self._task is not None:
            await self._task
        if self._notify_task is not None:
            self._notify_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._notify_task

    @property
    def queue_length(self) -> int:
        """How many requests wait to be recorded."""
        return len(self._queue) + len(self._import_queue)

    @property
    def is_running(self) -> bool:
        """Whether the task that commits is running."""
        return self._task is not None and not self._task.done()

    async def record(self, request: AppendRequest) -> AppendResult:
        """Records a request, and answers when it is committed.

        Raises RuleBroken, VersionConflict, IdempotencyConflict, IdConflict (nothing was recorded), Overloaded
        (nothing was recorded, try later), DatabaseLost (it may have been recorded whole, or not at all: a retry with
        the same idempotency key or event ids settles which).
        """
        return (await self.submit((request,)))[0]

    async def record_all(self, requests: Sequence[AppendRequest], *, dry_run: bool = False) -> list[AppendResult]:
        """Records several requests, to one stream or to many: all of them or none.

        Each is judged on what those before it make of the log. Raises what `record` does, and AtRequest for the one
        that is refused.
        """
        return await self.submit(requests, dry_run=dry_run)

    def submit(self, requests: Sequence[AppendRequest], *, dry_run: bool = False) -> asyncio.Future[list[AppendResult]]:
        """Puts requests that stand or fall together into the queue.

        What is submitted first is judged first, but for what is of a bulk: that comes behind all others, in its order.
        Raises Overloaded at once; the future raises what `record_together` does.
        """
        if self._task is None or self._closing or not self.is_running:
            raise Overloaded
        waiting = _QueuedSubmission(requests, dry_run, done=self._task.get_loop().create_future())
        size = waiting.size
        if self.queue_length >= MAX_QUEUED_REQUESTS or (
            self._queued_bytes > 0 and self._queued_bytes + size > MAX_QUEUED_BYTES
        ):
            raise Overloaded
        (self._import_queue if waiting.low_priority else self._queue).append(waiting)
        self._queued_bytes += size
        self._work_available.set()
        return waiting.done

    async def _commit_loop(self) -> None:
        """Judges what comes while the group before it is on its way, and sends it behind that one."""
        flight: _Flight | None = None
        while True:
            while not self.queue_length and not self._closing:
                await self._wait_for_work()
            if not self.queue_length:
                break
            flight = await self._assemble_batch(flight)
        if flight is not None and flight.task is not None:
            await flight.task

    async def _wait_for_work(self) -> None:
        await self._work_available.wait()
        self._work_available.clear()

    async def _assemble_batch(self, before: _Flight | None) -> _Flight:
        """Gathers the next group until the one before it has landed, and sends it."""
        group: list[_QueuedSubmission] = []
        unjudged: list[_QueuedSubmission] = []
        events = 0
        draft: Batch | None = None
        writes: WriteBatch | None = None
        # Whether somebody asks for what is only known under the lock.
        doubtful = full = False
        try:
            while True:
                fresh = self._dequeue(len(group), events, before) if not full else []
                group += fresh
                unjudged += fresh
                events += sum(waiting.events for waiting in fresh)
                full = events >= (MAX_IMPORT_BATCH_EVENTS if self._import_queue else MAX_BATCH_EVENTS)
                self._batch_size = len(group)
                if unjudged and not doubtful:
                    draft = draft or self._new_unlocked_batch(before)
                    if draft is not None:
                        doubtful = not await _try_validate(draft, self._pool, unjudged, self._clock())
                        unjudged, writes = [], None
                landed = before is None or before.landed
                if draft is not None and not doubtful and writes is None and (full or landed):
                    writes = _projection_statements(draft, _append_statements(draft))
                if landed:
                    break
                await self._wait_for_work()
        except Exception as error:
            # A lost database, or a fault of ours, which is told whole: it may not show again. Under the lock it reaches
            # its author alone.
            cause = None if _is_transient(error) else error
            log.warning("nothing was drafted", error=str(error) or type(error).__name__, exc_info=cause)
            doubtful = True
        while before is not None and not before.landed:
            await self._wait_for_work()
        if doubtful:
            draft = None
        if draft is not None:
            # It has landed, and is held below.
            draft.previous_batch = None
        self._batch_size = 0
        flight = _Flight(group, draft)
        flight.task = asyncio.create_task(self._fly(flight, writes), name="a group")
        return flight

    def _dequeue(self, members: int, events: int, before: _Flight | None) -> list[_QueuedSubmission]:
        """What waits, for a group that has so many members and events: first what is of no bulk.

        Half of all that are here, those on their way among them, and no more: answers wake their clients together, who
        come back together, and processor and disk would work by turns again. Who went away before anything was done
        asks for nothing any more.
        """
        fetched: list[_QueuedSubmission] = []
        flying = len(before.group) if before is not None and not before.landed else 0
        share = (members + self.queue_length + flying + 1) // 2
        for queue in (self._queue, self._import_queue):
            limit = MAX_BATCH_EVENTS
            if queue is self._import_queue:
                limit = MAX_IMPORT_BATCH_EVENTS if events < MAX_IMPORT_BATCH_EVENTS else events + MIN_IMPORT_EVENTS
            while queue and events < limit and members + len(fetched) < share:
                waiting = queue.popleft()
                self._queued_bytes -= waiting.size
                if not waiting.done.done():
                    fetched.append(waiting)
                    events += waiting.events
        return fetched

    async def _fly(self, flight: _Flight, writes: WriteBatch | None) -> None:
        group, settled = flight.group, None
        try:
            if group:
                settled = await self._commit_batch(group, flight.draft, writes)
        except Exception as error:
            log.exception("recording failed", members=len(group))
            self._invalidate_cache()
            _reject_futures(group, error)
        flight.landed = True
        self._work_available.set()
        if self._batch_size:
            # The next group goes first: those who are answered would keep it, and the disk, waiting.
            await asyncio.sleep(0)
        if settled is not None:
            _resolve_futures(group, settled.outcomes)

    async def _commit_batch(
        self,
        group: Sequence[_QueuedSubmission],
        draft: Batch | None = None,
        writes: WriteBatch | None = None,
        *,
        again: bool = True,
    ) -> Batch | None:
        """One transaction for the group, and the draft that is in the log then; None where its members were answered.

        What goes wrong rolls the group back; its members are then tried one by one: it reaches its author alone.
        """
        # What was drafted ahead erases nothing.
        erases = draft is None and any(waiting.has_redaction for waiting in group)
        if erases and len(group) > 1:
            await self._commit_individually(group)
            return None
        pool = self._owner if erases else self._pool
        if pool is None:
            _reject_futures(group, RedactionUnavailable())
            return None
        try:
            if draft is None or writes is None or not await self._commit_if_head_unchanged(pool, draft, writes):
                async with log_transaction(pool) as connection:
                    draft = await self._begin_under_lock(connection, group)
                    await draft.validate(connection, group, self._clock())
                    if draft.sealed:
                        await self._write_batch(connection, draft)
        except Exception as error:
            self._invalidate_cache()
            if not await self._recover_after_failure(group, draft, error, again=again):
                return None
        assert draft is not None
        if draft.sealed:
            self._apply_committed(draft)
        return draft

    async def _recover_after_failure(
        self, group: Sequence[_QueuedSubmission], draft: Batch | None, error: Exception, *, again: bool
    ) -> bool:
        """Whether a group that something went wrong with is in the log after all; if not, its members are seen to."""
        if _is_transient(error):
            log.warning("database lost", error=str(error) or type(error).__name__)
            arrived = await self._was_committed(draft)
            # Who has waited long enough once need not wait again.
            if arrived is False and again and not isinstance(error, TimeoutError):
                await self._commit_and_reply(group, again=False)
            elif not arrived:
                _reject_futures(group, DatabaseUnavailable())
            return bool(arrived)
        if len(group) > 1:
            await self._commit_individually(group)
        else:
            # A fault of ours must reach who waits, and must not stop the recorder for everybody else.
            log.error("an append failed", exc_info=error)
            _reject_futures(group, error)
        return False

    async def _commit_individually(self, group: Sequence[_QueuedSubmission]) -> None:
        for waiting in group:
            await self._commit_and_reply([waiting])

    async def _commit_and_reply(self, group: Sequence[_QueuedSubmission], *, again: bool = True) -> None:
        settled = await self._commit_batch(group, again=again)
        if settled is not None:
            _resolve_futures(group, settled.outcomes)

    def _new_unlocked_batch(self, before: _Flight | None) -> Batch | None:
        """An empty draft behind the log's end; behind what is on its way where something is. None: nobody knows it."""
        if before is not None and not before.landed:
            ahead = before.draft
            if ahead is None:
                return None
            return Batch(ahead.new_head(), ahead.frontier.copy(), self._histories, ahead, made_ahead=True)
        if not self._is_sole_writer or self._head is None or self._head.position == 0:
            return None
        return Batch(self._head, self._frontier.copy(), self._histories, made_ahead=True)

    async def _commit_if_head_unchanged(self, pool: Pool, draft: Batch, writes: WriteBatch) -> bool:
        """Whether a draft that was made before the lock could be written: nobody else wrote, no key or id is known.

        The usual case by far, and a quarter of the trips; the database checks all of it (`Writes.execute_behind`).
        """
        if not draft.sealed or draft.head != self._head:
            return False
        try:
            await writes.execute_if_head_is(draft.head, pool)
        except HeadMoved:
            self._is_sole_writer = False
        return self._is_sole_writer

    async def _begin_under_lock(self, connection: Connection, group: Sequence[_QueuedSubmission]) -> Batch:
        """Makes sure, under the lock, that what is held in memory is the log's true end."""
        keyed = [(r.by, r.idempotency_key) for w in group for r in w.requests if r.idempotency_key is not None]
        rows = await connection.fetch(
            SELECT_HEAD_AND_IDEMPOTENCY, [owner for owner, _ in keyed], [key for _, key in keyed]
        )
        head = Head(rows[0]["position"] or 0, rows[0]["leaf_hash"], rows[0]["recorded_at"])
        self._is_sole_writer = head == self._head
        if not self._is_sole_writer:
            await self._refresh_from_log(connection, head)
        draft = Batch(head, self._frontier.copy(), self._histories)
        if rows[0]["key"] is not None:
            draft.stored_responses = {(row["owner"], row["key"]): (row["request"], row["answer"]) for row in rows}
        ids = [a.id for w in group for r in w.requests for a in r.announcements if a.id is not None]
        if ids:
            draft.known_events = {id: s.recorded for id, s in (await store.by_ids(connection, ids)).items()}
        return draft

    async def _refresh_from_log(self, connection: Connection, head: Head) -> None:
        """Another process has written (or this one has just begun, or the database was restored)."""
        known = self._head
        if known is not None and 0 < known.position < head.position <= known.position + MAX_INCREMENTAL_EVENTS:
            leaves = await store.leaves(connection, known.position - 1, head.position)
            if leaves[0] == known.leaf_hash:
                self._histories.evict(await store.streams_changed(connection, known.position, head.position))
                for leaf in leaves[1:]:
                    self._frontier.append(leaf)
                self._head = head
                return
        self._histories.clear()
        self._frontier = await store.frontier(connection, head.position)
        self._head = head

    def _invalidate_cache(self) -> None:
        self._head = None
        self._is_sole_writer = False
        self._histories.clear()

    async def _was_committed(self, draft: Batch | None) -> bool | None:
        """Whether a group whose commit was never answered is in the log; None where nobody can say.

        The lock makes this wait until its fate is settled. An id may have been given by the client, and be there by
        another way; the salt makes a leaf hash this group's own.
        """
        if draft is None or not draft.sealed:
            return False
        last = draft.sealed[-1].recorded
        try:
            async with log_transaction(self._pool) as connection:
                found = (await store.by_ids(connection, [last.id])).get(last.id)
            return found is not None and found.recorded.leaf_hash == last.leaf_hash
        except Exception as error:
            if _is_transient(error):
                return None
            raise

    def _apply_committed(self, draft: Batch) -> None:
        self._head = draft.new_head()
        self._frontier = draft.frontier
        self.last_batch_size = len(draft.sealed)
        for stream, history in draft.histories.items():
            self._histories.put(stream, history)
        self._notify_requested.set()
        for listener in self.commit_listeners:
            try:
                listener(self._head)
            except Exception:
                # What is committed is committed: whoever listens must not make it look otherwise.
                log.exception("a listener failed")

    async def _write_batch(self, connection: Connection, draft: Batch) -> None:
        writes = _append_statements(draft)
        for index, step in enumerate(draft.applied_changes):
            if isinstance(step.recorded.event, EventRedacted):
                # An erasure looks for the event that demands it.
                await writes.execute(connection)
                draft.applied_changes[index] = await self._redact(connection, step, step.recorded.event)
        await _projection_statements(draft, writes).execute(connection)

    async def _redact(self, connection: Connection, step: AppliedChange, event: EventRedacted) -> AppliedChange:
        """Erases the event's content, and that of what quotes it, wherever it is kept."""
        history = step.after
        targets = {history.record.by_id[id].recorded.position for id in (event.redacts, *event.also)}
        for target in sorted(targets):
            await store.erase(connection, step.recorded.position, target)
        await connection.execute(REDACT_STORED_RESPONSES, stream_name(step.recorded.kind, step.recorded.slug))
        return AppliedChange(step.recorded, step.before, history, erased=True)

    async def _notify_loop(self) -> None:
        """Tells other processes that the log has grown, at most once for all that waits.

        After the commit and apart from it: NOTIFY takes a lock of the whole server. It may be lost: polling is the
        truth.
        """
        while True:
            await self._notify_requested.wait()
            self._notify_requested.clear()
            head = self._head
            if head is None or head.recorded_at is None:
                continue
            try:
                await self._pool.execute(NOTIFY, str(head.position))
                if head.recorded_at - self._keys_deleted_at > timedelta(hours=1):
                    await self._delete_expired_keys(head.recorded_at - IDEMPOTENCY_RETENTION)
                    self._keys_deleted_at = head.recorded_at
            except postgres.ERRORS as error:
                log.warning("nobody was notified", error=str(error) or type(error).__name__)
            await asyncio.sleep(NOTIFY_INTERVAL_SECONDS)

    async def _delete_expired_keys(self, before: datetime) -> None:
        """Drops the idempotency keys that have outlived their promise."""
        while (
            await self._pool.execute(DELETE_EXPIRED_IDEMPOTENCY, before, PURGE_BATCH_SIZE)
        ) == f"DELETE {PURGE_BATCH_SIZE}":
            pass


async def _try_validate(draft: Batch, pool: Pool, fresh: Sequence[_QueuedSubmission], now: datetime) -> bool:
    """Judges what has come on what is held in memory and on its way. Whether that is enough.

    Where it is not, a look under the lock tells; so it does what an erasure finds, and what nothing commits.
    """
    if any(waiting.dry_run or waiting.has_redaction for waiting in fresh):
        return False
    judged = len(draft.outcomes)
    await draft.validate(pool, fresh, now)
    return all(map(draft.is_final, fresh, draft.outcomes[judged:]))


def _append_statements(draft: Batch) -> WriteBatch:
    """What the log gets."""
    writes = WriteBatch()
    store.append(writes, draft.sealed, draft.tiles)
    return writes


def _projection_statements(draft: Batch, writes: WriteBatch) -> WriteBatch:
    """With what the views show, and what is answered to a key that comes again."""
    draft.write_projections(writes)
    if draft.idempotency_records:
        writes.add(INSERT_IDEMPOTENCY_RECORDS, draft.idempotency_records)
    return writes


def _is_transient(error: Exception) -> bool:
    """Whether trying again can help: the server is gone, or ended a transaction for reasons of its own.

    Beyond what says that it is lost: deadlocks, locks that did not come, an idle transaction that was ended, a
    statement that was cancelled.
    """
    state = (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    return postgres.is_connection_lost(error) or state[:2] in ("40", "55") or state in ("25P03", "57014")


def _resolve_futures(group: Sequence[_QueuedSubmission], results: Sequence[list[AppendResult] | RegistryError]) -> None:
    for waiting, result in zip(group, results, strict=True):
        if waiting.done.done():
            continue
        if isinstance(result, list):
            waiting.done.set_result(result)
        else:
            waiting.done.set_exception(result)


def _reject_futures(group: Sequence[_QueuedSubmission], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
