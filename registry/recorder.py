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
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog
from msgspec import UNSET, Struct

from registry import postgres
from registry.domain.audit import Change, diff
from registry.domain.history import DEALS, History, admit, complete
from registry.domain.plausibility import Flag
from registry.domain.rates import reference_rates
from registry.domain.remarks import flags_raised
from registry.domain.whole import whole
from registry.errors import (
    DatabaseLost,
    IdConflict,
    IdempotencyConflict,
    Overloaded,
    RedactionUnavailable,
    RegistryError,
    RuleBroken,
    VersionConflict,
)
from registry.events import store
from registry.events.codec import Content, canonical, published_on, random_bytes, stream_name
from registry.events.merkle import Frontier, Tile
from registry.events.store import Connection, Head, NotTheEnd, Pool, Sealed, Writes, log_transaction
from registry.events.types import (
    Announcement,
    EventCorrected,
    EventRedacted,
    OrganizationAnnouncement,
    Recorded,
    StreamKind,
)
from registry.projections import VIEWS
from registry.projections.histories import Histories
from registry.projections.projection import Step

log = structlog.get_logger(__name__)

# What may wait: beyond it the recorder sheds load (503) before memory grows.
QUEUE_LIMIT = 5_000
QUEUE_BYTES = 64 * 2**20

# Events of one transaction: long enough to share an fsync widely, short enough to keep its lock briefly.
GROUP_LIMIT = 1_000

# What If-Match: * demands: that the stream exists.
ANY_VERSION = -1

# Idempotency keys are promised for 24 hours. What is older goes some rows at a time, apart from the appends.
IDEMPOTENCY_LIFE = timedelta(hours=48)
FORGOTTEN_AT_ONCE = 5_000

# Seconds between two NOTIFYs: each takes a lock of the whole server, and whoever listens reads all that has come since.
NOTIFY_PAUSE = 0.05

# Beyond this many events by others, the tree's edge is read anew rather than grown.
NEAR = 10_000

# The log's last event, and what was answered to the keys of a group: one trip to the database for both.
LOOK = f"""
SELECT h.position, h.leaf_hash, h.recorded_at, i.owner, i.key, i.request, i.answer
  FROM (SELECT) AS always
       LEFT JOIN ({store.HEAD}) AS h ON true
       LEFT JOIN (
           SELECT owner, key, request, answer
             FROM unnest($1::text[], $2::text[]) AS k (owner, key) JOIN idempotency USING (owner, key)
       ) AS i ON true
"""  # noqa: S608 - put together from constants

REMEMBER = """
remembered AS (
    INSERT INTO idempotency (owner, key, request, answer, stream, created_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::timestamptz[])
)
"""

FORGET_OLD = """
DELETE FROM idempotency
 WHERE (owner, key) IN (SELECT owner, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2)
"""
# After an erasure: what changed goes out of the answers, and the requests' digests, from which a short secret could be
# guessed, go too. The rest stays: a retry must still find that it was recorded.
STRIP_ANSWERS = """
UPDATE idempotency
   SET answer = convert_to((convert_from(answer, 'UTF8')::jsonb - 'changes' - 'flags')::text, 'UTF8'), request = ''
 WHERE stream = $1
"""

# It may be lost in a crash, so it need not wait for the disk.
NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('registry', $1)"

_encode = msgspec.json.Encoder().encode


class Request(Struct, frozen=True, kw_only=True):
    """What somebody asks to be recorded in one stream: all of it or none.

    `by` is the id of the key that asks. `expected_version` is what If-Match demanded; for If-None-Match: * it is 0, and
    for If-Match: * ANY_VERSION. `digest` identifies the whole request, for its idempotency key. `size` is that
    of its body, in bytes. Who asks in brief is told what was recorded, and not what that changes.
    """

    kind: StreamKind
    slug: str
    announcements: Sequence[Announcement | OrganizationAnnouncement]
    by: str
    expected_version: int | None = None
    idempotency_key: str | None = None
    digest: bytes = b""
    dry_run: bool = False
    size: int = 0
    brief: bool = False

    @property
    def stream(self) -> str:
        return stream_name(self.kind, self.slug)

    def expects(self, version: int) -> bool:
        """Whether a stream at this version is what the request is meant for."""
        if self.expected_version == ANY_VERSION:
            return version > 0
        return self.expected_version is None or self.expected_version == version


class Receipt(Struct, frozen=True):
    """One recorded event's place in the log."""

    id: UUID
    version: int
    position: int
    recorded_at: datetime


class Outcome(Struct, frozen=True):
    """What became of a request. `answer` is its JSON, empty in brief; `new` is False for a replay or a dry run."""

    version: int
    position: int
    events: Sequence[Receipt]
    flags: Sequence[Flag]
    answer: bytes
    new: bool


class _Answer(Struct, frozen=True):
    """Of an answer that was kept under its key, what an outcome repeats. After an erasure it tells no flags."""

    version: int
    position: int
    events: tuple[Receipt, ...]
    flags: tuple[Flag, ...] = ()


class AtRequest(RegistryError):
    """Request {number} of those that were to be recorded together: {error}"""

    # `number` counts from 0; `error` is what that one was refused for. Nothing of them all was recorded.

    def __init__(self, number: int, error: RegistryError) -> None:
        super().__init__(number=number, error=error)
        self.number = number
        self.error = error


class _Waiting(Struct):
    """Requests that stand or fall together; one, most of the time."""

    requests: Sequence[Request]
    done: asyncio.Future[list[Outcome]]
    dry_run: bool = False

    @property
    def events(self) -> int:
        return sum(len(request.announcements) for request in self.requests)

    @property
    def size(self) -> int:
        return sum(request.size for request in self.requests)


class _Draft:
    """What a group is about to write: nothing of it is believed until its commit is answered.

    `head` is the log's end that it was begun on; `ahead` the draft on its way whose last event that is, if any.
    """

    def __init__(self, head: Head, frontier: Frontier, ahead: _Draft | None = None) -> None:
        self.head = head
        self.ahead = ahead
        self.position = head.position
        self.recorded_at = head.recorded_at or datetime.min.replace(tzinfo=UTC)
        self.frontier = frontier
        self.histories: dict[str, History[Any]] = {}
        self.sealed: list[Sealed] = []
        self.tiles: list[Tile] = []
        self.steps: list[Step] = []
        self.answers: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self.remember: list[tuple[str, str, bytes, bytes, str, datetime]] = []
        self.by_id: dict[UUID, Recorded] = {}
        self.results: list[list[Outcome] | RegistryError] = []

    def mark(self) -> Callable[[], None]:
        """What takes the draft back to where it is now."""
        position, frontier, histories = self.position, self.frontier.copy(), self.histories.copy()
        answers, by_id = self.answers.copy(), self.by_id.copy()
        lengths = [(items, len(items)) for items in (self.sealed, self.tiles, self.steps, self.remember)]

        def reset() -> None:
            self.position, self.frontier, self.histories = position, frontier, histories
            self.answers, self.by_id = answers, by_id
            for items, length in lengths:
                del items[length:]

        return reset

    def end(self) -> Head:
        """Where the log ends once this is written."""
        if not self.sealed:
            return self.head
        last = self.sealed[-1].recorded
        return Head(last.position, last.leaf_hash, last.recorded_at)


class _Flight(Struct):
    """A group on its way: the task that sends and settles it, and the draft that the next one may be begun on."""

    task: asyncio.Task[None]
    draft: _Draft | None


class Recorder:
    """One per process; several processes may run one each against one database, ordered by the log's lock."""

    def __init__(
        self, pool: Pool, owner: Pool | None = None, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        # Set by whatever the recorder may have waited for: a request, or the end of a flight.
        self._stirred = asyncio.Event()
        self._closing = False
        self._histories = Histories()
        self._head: Head | None = None
        # Whether nobody else has written since this process last looked under the lock.
        self._alone = False
        self._frontier = Frontier()
        self._task: asyncio.Task[None] | None = None
        self._forgot_at = datetime.min.replace(tzinfo=UTC)
        self._notified = asyncio.Event()
        self._notifier: asyncio.Task[None] | None = None
        self.committed: list[Callable[[Head], None]] = []
        self.last_group = 0

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self._run(), name="recorder")
        self._notifier = asyncio.create_task(self._notify(), name="notifier")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Commits what waits, then stops."""
        self._closing = True
        self._stirred.set()
        if self._task is not None:
            await self._task
        if self._notifier is not None:
            self._notifier.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._notifier

    @property
    def waiting(self) -> int:
        """How many requests wait to be recorded."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether the task that commits is running."""
        return self._task is not None and not self._task.done()

    async def record(self, request: Request) -> Outcome:
        """Records a request, and answers when it is committed.

        Raises RuleBroken, VersionConflict, IdempotencyConflict, IdConflict (nothing was recorded), Overloaded
        (nothing was recorded, try later), DatabaseLost (it may have been recorded whole, or not at all: a retry with
        the same idempotency key or event ids settles which).
        """
        return (await self.submit((request,)))[0]

    async def record_together(self, requests: Sequence[Request], *, dry_run: bool = False) -> list[Outcome]:
        """Records several requests, to one stream or to many: all of them or none.

        Each is judged on what those before it make of the log. Raises what `record` does, and AtRequest for the one
        that is refused.
        """
        return await self.submit(requests, dry_run=dry_run)

    def submit(self, requests: Sequence[Request], *, dry_run: bool = False) -> asyncio.Future[list[Outcome]]:
        """Puts requests that stand or fall together into the queue; what is submitted first is judged first.

        Raises Overloaded at once; the future raises what `record_together` does.
        """
        waiting = _Waiting(requests, asyncio.get_running_loop().create_future(), dry_run)
        size = waiting.size
        full = len(self._queue) >= QUEUE_LIMIT or (self._queued_bytes > 0 and self._queued_bytes + size > QUEUE_BYTES)
        if full or self._closing or not self.alive:
            raise Overloaded
        self._queue.append(waiting)
        self._queued_bytes += size
        self._stirred.set()
        return waiting.done

    async def _run(self) -> None:
        """Judges what comes while the group before it is on its way, and sends it behind that one."""
        flight: _Flight | None = None
        while True:
            while not self._queue and not self._closing:
                await self._stir()
            if not self._queue:
                break
            flight = await self._depart(flight)
        if flight is not None:
            await flight.task

    async def _stir(self) -> None:
        await self._stirred.wait()
        self._stirred.clear()

    async def _depart(self, before: _Flight | None) -> _Flight:
        """Gathers the next group until the one before it has landed, and sends it."""
        group: list[_Waiting] = []
        draft: _Draft | None = None
        room = GROUP_LIMIT
        try:
            while True:
                fresh = self._fetch(room)
                known = draft is not None or not group
                group += fresh
                room -= sum(waiting.events for waiting in fresh)
                draft = await self._ahead(draft, fresh, before) if known else None
                if room <= 0 or before is None or before.task.done():
                    break
                await self._stir()
            writes = _shown(draft, _appended(draft)) if draft is not None else None
        except Exception as error:
            # A fault of ours, or a lost database: under the lock it reaches its author alone.
            log.warning("nothing was drafted", error=str(error) or type(error).__name__)
            draft = writes = None
        if before is not None:
            await before.task
        if draft is not None:
            # It has landed, and is held below.
            draft.ahead = None
        task = asyncio.create_task(self._fly(group, draft, writes), name="a group")
        task.add_done_callback(lambda _: self._stirred.set())
        return _Flight(task, draft)

    def _fetch(self, room: int) -> list[_Waiting]:
        """What waits, up to so many events. Who went away before anything was done asks for nothing any more."""
        fetched: list[_Waiting] = []
        while self._queue and room > 0:
            waiting = self._queue.popleft()
            self._queued_bytes -= waiting.size
            if not waiting.done.done():
                fetched.append(waiting)
                room -= waiting.events
        return fetched

    async def _fly(self, group: Sequence[_Waiting], draft: _Draft | None, writes: Writes | None) -> None:
        try:
            if group:
                await self._commit(group, draft, writes)
        except Exception as error:
            log.exception("recording failed", members=len(group))
            self._lose_faith()
            _fail(group, error)

    async def _commit(
        self,
        group: Sequence[_Waiting],
        draft: _Draft | None = None,
        writes: Writes | None = None,
        *,
        again: bool = True,
    ) -> None:
        """One transaction for the group, and its answers once that is settled.

        What goes wrong rolls the group back; its members are then tried one by one: it reaches its author alone.
        """
        erases = any(map(_erases, group))
        if erases and len(group) > 1:
            await self._one_by_one(group)
            return
        pool = self._owner if erases else self._pool
        if pool is None:
            _fail(group, RedactionUnavailable())
            return
        try:
            if draft is None or writes is None or not await self._written_behind(pool, draft, writes):
                async with log_transaction(pool) as connection:
                    draft = await self._begin(connection, group)
                    await self._judge(connection, draft, group)
                    if draft.sealed:
                        await self._write(connection, draft)
        except Exception as error:
            self._lose_faith()
            if not await self._recovered(group, draft, error, again=again):
                return
        assert draft is not None
        if draft.sealed:
            self._adopt(draft)
        _settle(group, draft.results)

    async def _recovered(
        self, group: Sequence[_Waiting], draft: _Draft | None, error: Exception, *, again: bool
    ) -> bool:
        """Whether a group that something went wrong with is in the log after all; if not, its members are seen to."""
        if _may_pass(error):
            log.warning("database lost", error=str(error) or type(error).__name__)
            arrived = await self._arrived(draft)
            # Who has waited long enough once need not wait again.
            if arrived is False and again and not isinstance(error, TimeoutError):
                await self._commit(group, again=False)
            elif not arrived:
                _fail(group, DatabaseLost())
            return bool(arrived)
        if len(group) > 1:
            await self._one_by_one(group)
        else:
            # A fault of ours must reach who waits, and must not stop the recorder for everybody else.
            log.error("an append failed", exc_info=error)
            _fail(group, error)
        return False

    async def _one_by_one(self, group: Sequence[_Waiting]) -> None:
        for waiting in group:
            await self._commit([waiting])

    async def _ahead(self, draft: _Draft | None, fresh: Sequence[_Waiting], before: _Flight | None) -> _Draft | None:
        """The draft with what has come, judged on what is held in memory and on its way; None where that is not enough.

        A refusal must be founded on the log's true end, and so must an answer that was given before.
        """
        if any(waiting.dry_run or _erases(waiting) for waiting in fresh):
            return None
        if draft is None:
            draft = self._begun(before)
        if draft is None:
            return None
        judged = len(draft.results)
        await self._judge(self._pool, draft, fresh)
        granted = all(
            isinstance(result, list) and all(outcome.new for outcome in result) for result in draft.results[judged:]
        )
        return draft if granted else None

    def _begun(self, before: _Flight | None) -> _Draft | None:
        """An empty draft behind the log's end; behind what is on its way where something is. None: nobody knows it."""
        if before is not None and not before.task.done():
            ahead = before.draft
            return _Draft(ahead.end(), ahead.frontier.copy(), ahead) if ahead is not None else None
        if not self._alone or self._head is None or self._head.position == 0:
            return None
        return _Draft(self._head, self._frontier.copy())

    async def _written_behind(self, pool: Pool, draft: _Draft, writes: Writes) -> bool:
        """Whether a draft that was made before the lock could be written: nobody else wrote, no key or id is known.

        The usual case by far, and a quarter of the trips; the database checks all of it (`Writes.execute_behind`).
        """
        if not draft.sealed or draft.head != self._head:
            return False
        try:
            await writes.execute_behind(draft.head, pool)
        except NotTheEnd:
            self._alone = False
        return self._alone

    async def _begin(self, connection: Connection, group: Sequence[_Waiting]) -> _Draft:
        """Makes sure, under the lock, that what is held in memory is the log's true end."""
        keyed = [(r.by, r.idempotency_key) for w in group for r in w.requests if r.idempotency_key is not None]
        rows = await connection.fetch(LOOK, [owner for owner, _ in keyed], [key for _, key in keyed])
        head = Head(rows[0]["position"] or 0, rows[0]["leaf_hash"], rows[0]["recorded_at"])
        self._alone = head == self._head
        if not self._alone:
            await self._catch_up(connection, head)
        draft = _Draft(head, self._frontier.copy())
        if rows[0]["key"] is not None:
            draft.answers = {(row["owner"], row["key"]): (row["request"], row["answer"]) for row in rows}
        ids = [a.id for w in group for r in w.requests for a in r.announcements if a.id is not None]
        if ids:
            draft.by_id = {id: s.recorded for id, s in (await store.by_ids(connection, ids)).items()}
        return draft

    async def _catch_up(self, connection: Connection, head: Head) -> None:
        """Another process has written (or this one has just begun, or the database was restored)."""
        known = self._head
        if known is not None and 0 < known.position < head.position <= known.position + NEAR:
            leaves = await store.leaves(connection, known.position - 1, head.position)
            if leaves[0] == known.leaf_hash:
                self._histories.forget(await store.touched(connection, known.position, head.position))
                for leaf in leaves[1:]:
                    self._frontier.append(leaf)
                self._head = head
                return
        self._histories.clear()
        self._frontier = await store.frontier(connection, head.position)
        self._head = head

    def _lose_faith(self) -> None:
        self._head = None
        self._alone = False
        self._histories.clear()

    async def _arrived(self, draft: _Draft | None) -> bool | None:
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
            if _may_pass(error):
                return None
            raise

    def _adopt(self, draft: _Draft) -> None:
        self._head = draft.end()
        self._frontier = draft.frontier
        self.last_group = len(draft.sealed)
        for stream, history in draft.histories.items():
            self._histories.put(stream, history)
        self._notified.set()
        for listener in self.committed:
            try:
                listener(self._head)
            except Exception:
                # What is committed is committed: whoever listens must not make it look otherwise.
                log.exception("a listener failed")

    async def _write(self, connection: Connection, draft: _Draft) -> None:
        writes = _appended(draft)
        for index, step in enumerate(draft.steps):
            if isinstance(step.recorded.event, EventRedacted):
                # An erasure looks for the event that demands it.
                await writes.execute(connection)
                draft.steps[index] = await self._erase(connection, step, step.recorded.event)
        await _shown(draft, writes).execute(connection)

    async def _erase(self, connection: Connection, step: Step, event: EventRedacted) -> Step:
        """Erases the event's content, and that of what quotes it, wherever it is kept."""
        history = step.after
        targets = {history.record.by_id[id].recorded.position for id in (event.redacts, *event.also)}
        for target in sorted(targets):
            await store.erase(connection, step.recorded.position, target)
        await connection.execute(STRIP_ANSWERS, stream_name(step.recorded.kind, step.recorded.slug))
        return Step(step.recorded, step.before, history, erased=True)

    # --- judging one request -----------------------------------------------------------------------------------------

    async def _judge(self, connection: Connection | Pool, draft: _Draft, group: Sequence[_Waiting]) -> None:
        # Not the draft's first moment: what is judged later has come later.
        draft.recorded_at = max(self._clock(), draft.recorded_at)
        await self._load(connection, draft, (r.stream for w in group for r in w.requests))
        for waiting in group:
            try:
                if len(waiting.requests) == 1 and not waiting.dry_run:
                    draft.results.append([await self._take(connection, draft, waiting.requests[0])])
                else:
                    draft.results.append(await self._take_together(connection, draft, waiting))
            except RegistryError as refused:
                draft.results.append(refused)

    async def _load(self, connection: Connection | Pool, draft: _Draft, streams: Iterable[str]) -> None:
        """Makes sure that the draft has these streams, as they will be when what is on its way has landed."""
        missing = {stream for stream in streams if stream not in draft.histories}
        if draft.ahead is not None:
            known = draft.ahead.histories
            draft.histories |= {stream: known[stream] for stream in missing & known.keys()}
            missing -= known.keys()
        if missing:
            draft.histories |= await self._histories.load(connection, missing)

    async def _take_together(self, connection: Connection | Pool, draft: _Draft, waiting: _Waiting) -> list[Outcome]:
        """Judges requests that stand or fall together, each on what those before it make of the log."""
        reset = draft.mark()
        outcomes: list[Outcome] = []
        for number, request in enumerate(waiting.requests):
            try:
                outcomes.append(await self._take(connection, draft, request))
            except RegistryError as refused:
                reset()
                raise AtRequest(number, refused) from refused
        if waiting.dry_run:
            reset()
            return [msgspec.structs.replace(outcome, new=False) for outcome in outcomes]
        return outcomes

    async def _take(self, connection: Connection | Pool, draft: _Draft, request: Request) -> Outcome:
        """Judges one request on what the group has made of the log so far, and adds it to the draft if it stands."""
        key = (request.by, request.idempotency_key) if request.idempotency_key is not None else None
        if key is not None and key in draft.answers:
            digest, answer = draft.answers[key]
            if digest not in (request.digest, b""):
                raise IdempotencyConflict(key=key[1])
            return _replayed(answer)
        history = draft.histories[request.stream]
        before = history
        replays = [self._is_replay(draft, request, before, a) for a in request.announcements]
        fresh = not all(replays)
        if fresh and not request.expects(history.version):
            raise VersionConflict(
                kind=request.kind, slug=request.slug, actual=history.version, expected=request.expected_version
            )
        sealed: list[Sealed] = []
        steps: list[Step] = []
        receipts: list[Receipt] = []
        for announcement, replay in zip(request.announcements, replays, strict=True):
            if announcement.id is not None and replay:
                receipts.append(_receipt(draft.by_id[announcement.id]))
                continue
            one = self._seal(draft, request, history, announcement, len(sealed))
            after = admit(history, one.recorded)
            if not isinstance(after, History):
                refusal, stranded = after
                raise RuleBroken(refusal.rule, refusal.detail, tuple(str(id) for id in stranded))
            await self._check_merge(connection, draft, history, after)
            steps.append(Step(one.recorded, history, after))
            sealed.append(one)
            receipts.append(_receipt(one.recorded))
            history = after
        flags = await self._flags(connection, draft, history, sealed)
        told = _told(request, before, history, sealed, receipts, flags)
        place = (history.version, history.events[-1].position)
        outcome = Outcome(*place, receipts, flags, told, new=bool(sealed) and not request.dry_run)
        if request.dry_run or not sealed:
            return outcome
        for one in sealed:
            draft.tiles += draft.frontier.append(one.recorded.leaf_hash)
            draft.by_id[one.recorded.id] = one.recorded
        draft.position += len(sealed)
        draft.sealed += sealed
        draft.steps += steps
        draft.histories[request.stream] = history
        if key is not None:
            owner, name = key
            draft.answers[key] = (request.digest, told)
            draft.remember.append((owner, name, request.digest, told, request.stream, draft.recorded_at))
        return outcome

    async def _flags(
        self, connection: Connection | Pool, draft: _Draft, history: History[Any], sealed: Sequence[Sealed]
    ) -> list[Flag]:
        """What looks implausible in what is recorded: told, never refused. That sources err is recorded, too."""
        if history.rules is not DEALS:
            return []
        slugs = dict.fromkeys(r.deal for r in history.timeline.at(None).relations if r.deal != history.slug)
        related = [stream_name("deal", slug) for slug in slugs]
        if related:
            await self._load(connection, draft, related)
        neighbours = tuple(draft.histories[s].state for s in related if draft.histories[s].events)
        return flags_raised(history, (s.recorded.id for s in sealed), reference_rates(), neighbours)

    def _seal(
        self,
        draft: _Draft,
        request: Request,
        history: History[Any],
        announcement: Announcement | OrganizationAnnouncement,
        ahead: int,
    ) -> Sealed:
        return store.seal(
            kind=request.kind,
            slug=request.slug,
            position=draft.position + ahead + 1,
            version=history.version + 1,
            id=announcement.id or uuid7(draft.recorded_at),
            event=complete(history, announcement.event),
            effective_on=announcement.effective_on,
            published_on=published_on(announcement.sources, draft.recorded_at),
            sources=announcement.sources,
            note=announcement.note,
            recorded_at=draft.recorded_at,
            recorded_by=request.by,
            previous=history.leaf_hash,
        )

    def _is_replay(
        self,
        draft: _Draft,
        request: Request,
        history: History[Any],
        announcement: Announcement | OrganizationAnnouncement,
    ) -> bool:
        """Whether the announcement's id is in the log with this very content.

        Raises IdConflict when it is another event.
        """
        if announcement.id is None:
            return False
        known = draft.by_id.get(announcement.id)
        if known is None:
            return False
        same = (
            (known.kind, known.slug) == (request.kind, request.slug)
            and known.event is not None
            and known.effective_on == announcement.effective_on
            and _same(known, announcement)
        )
        if not same:
            raise IdConflict(id=known.id, stream=stream_name(known.kind, known.slug), version=known.version)
        return True

    async def _check_merge(
        self, connection: Connection | Pool, draft: _Draft, before: History[Any], after: History[Any]
    ) -> None:
        """A merge needs somewhere to lead to, and must not lead back, whichever event made it hold: a void may, too."""
        into = after.record.merged_into
        at = into if into != before.record.merged_into else None
        while at is not None:
            if at == after.slug:
                raise RuleBroken("merge-cycle", f"'{into}' leads back to '{at}': unmerge it there first.")
            kind = after.events[-1].kind
            stream = stream_name(kind, at)
            await self._load(connection, draft, (stream,))
            other = draft.histories[stream]
            if not other.events:
                raise RuleBroken("merge-target-unknown", f"There is no {kind} '{at}' to merge into: register it first.")
            at = other.record.merged_into

    async def _notify(self) -> None:
        """Tells other processes that the log has grown, at most once for all that waits.

        After the commit and apart from it: NOTIFY takes a lock of the whole server. It may be lost: polling is the
        truth.
        """
        while True:
            await self._notified.wait()
            self._notified.clear()
            head = self._head
            if head is None or head.recorded_at is None:
                continue
            try:
                await self._pool.execute(NOTIFY, str(head.position))
                if head.recorded_at - self._forgot_at > timedelta(hours=1):
                    await self._forget(head.recorded_at - IDEMPOTENCY_LIFE)
                    self._forgot_at = head.recorded_at
            except postgres.ERRORS as error:
                log.warning("nobody was notified", error=str(error) or type(error).__name__)
            await asyncio.sleep(NOTIFY_PAUSE)

    async def _forget(self, before: datetime) -> None:
        """Drops the idempotency keys that have outlived their promise."""
        while (await self._pool.execute(FORGET_OLD, before, FORGOTTEN_AT_ONCE)) == f"DELETE {FORGOTTEN_AT_ONCE}":
            pass


def _appended(draft: _Draft) -> Writes:
    """What the log gets."""
    writes = Writes()
    store.append(writes, draft.sealed, draft.tiles)
    return writes


def _shown(draft: _Draft, writes: Writes) -> Writes:
    """With what the views show, and what is answered to a key that comes again."""
    for view in VIEWS:
        view.apply(draft.steps, writes)
    if draft.remember:
        writes.add(REMEMBER, *(list(c) for c in zip(*draft.remember, strict=True)))
    return writes


def _same(known: Recorded, announcement: Announcement | OrganizationAnnouncement) -> bool:
    """Whether an announcement says what is recorded, apart from what the recorder filled in."""
    said, event = known.event, announcement.event
    if isinstance(event, EventCorrected) and isinstance(said, EventCorrected):
        new, old = event.replacement, said.replacement
        event = msgspec.structs.replace(
            event,
            replacement=msgspec.structs.replace(
                new, **{f: getattr(old, f) for f in new.__struct_fields__ if getattr(new, f) is UNSET}
            ),
        )
    elif isinstance(event, EventRedacted) and isinstance(said, EventRedacted):
        event = msgspec.structs.replace(event, also=said.also, effects=said.effects)
    elif hasattr(event, "about") and event.about is None and type(said) is type(event):
        event = msgspec.structs.replace(event, about=said.about)  # type: ignore[union-attr]
    assert said is not None
    posted = Content(event=event, sources=announcement.sources, note=announcement.note)
    return canonical(posted) == canonical(Content(event=said, sources=known.sources, note=known.note))


def _told(
    request: Request,
    before: History[Any],
    after: History[Any],
    sealed: Sequence[Sealed],
    receipts: Sequence[Receipt],
    flags: Sequence[Flag],
) -> bytes:
    """The answer to a request, as it is kept under its key."""
    if request.brief and request.idempotency_key is None:
        return b""
    return _encode(
        {
            request.kind: request.slug,
            "version": after.version,
            "position": after.events[-1].position,
            "events": receipts,
            "changes": whole(_changes(before, after, () if request.dry_run else sealed)),
            "flags": flags,
        }
    )


def _changes(before: History[Any], after: History[Any], sealed: Sequence[Sealed]) -> list[Change]:
    """What a request changes in a deal's state. What `sealed` erases is not repeated: an answer is kept by its key."""
    if after.rules is not DEALS:
        return []
    changes = diff(before.state if before.events else None, after.state)
    if any(isinstance(one.recorded.event, EventRedacted) for one in sealed):
        return [msgspec.structs.replace(change, before=None) for change in changes]
    return changes


def _receipt(recorded: Recorded) -> Receipt:
    return Receipt(recorded.id, recorded.version, recorded.position, recorded.recorded_at)


_answer = msgspec.json.Decoder(_Answer)


def _replayed(answer: bytes) -> Outcome:
    known = _answer.decode(answer)
    return Outcome(known.version, known.position, known.events, known.flags, answer, new=False)


def _erases(waiting: _Waiting) -> bool:
    return any(isinstance(a.event, EventRedacted) for r in waiting.requests for a in r.announcements)


def _may_pass(error: Exception) -> bool:
    """Whether trying again can help: the server is gone, or ended a transaction for reasons of its own.

    Beyond what says that it is lost: deadlocks, locks that did not come, an idle transaction that was ended, a
    statement that was cancelled.
    """
    state = (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    return postgres.is_lost(error) or state[:2] in ("40", "55") or state in ("25P03", "57014")


def _settle(group: Sequence[_Waiting], results: Sequence[list[Outcome] | RegistryError]) -> None:
    for waiting, result in zip(group, results, strict=True):
        if waiting.done.done():
            continue
        if isinstance(result, list):
            waiting.done.set_result(result)
        else:
            waiting.done.set_exception(result)


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)


def uuid7(now: datetime) -> UUID:
    """A time-ordered id: 48 bits of Unix milliseconds, then random bits (RFC 9562 §5.7)."""
    milliseconds = int(now.timestamp() * 1000)
    bits = (milliseconds << 80) | int.from_bytes(random_bytes(10))
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return UUID(int=bits)
