"""A batch: the requests that one transaction records, validated one after another and ready to be written.

Each request is validated on the state that the log and the requests before it lead to. A request that is refused leaves
no trace in the batch. Readers and caches see nothing of a batch before its commit returns.
Validation in its order and the rows that follow from it stand in this file, because each event is validated on the
state after the one before it, and the rows of a long request are computed in between; hence its length.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from time import perf_counter, thread_time
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import msgspec

from registry.append.idempotency import (
    INSERT_RECORDS,
    REDACT_RESPONSES,
    IdempotencyRecord,
    StoredResponses,
    find_replayed,
    replay_result,
)
from registry.append.other_streams import check_identifiers, check_merge, flags_of
from registry.append.requests import AppendRequest, AppendResult, Submission, SubmissionError, count_events
from registry.append.response import encode_response, receipt_of
from registry.append.seal import LogPlace, Recording, seal, uuid7
from registry.domain.admission import admit, check_claim_date, fill_defaults
from registry.domain.calendar import Calendar
from registry.domain.checks.plausibility import Flag
from registry.domain.history import FoldedStream
from registry.domain.money.rates import Rates
from registry.domain.principal import Credential, Principal, check_rights
from registry.errors import (
    ApprovalRequired,
    FieldError,
    Forbidden,
    IdempotencyConflict,
    Invalid,
    RegistryError,
    VersionConflict,
)
from registry.events import store
from registry.events.codec import stream_name
from registry.events.log_lock import write_seconds
from registry.events.store import SealedEvent
from registry.events.types import (
    AnyAnnouncement,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Recorded,
    tag_of,
)
from registry.events.write_batch import Head, WriteBatch
from registry.infra import freeing, memory
from registry.infra.postgres import Connection, Pool
from registry.infra.threads import LONG, is_long, offload
from registry.infra.time_slice import TimeSlice
from registry.projections import PROJECTIONS, AppliedChange
from registry.projections.deal_identifiers import IdentifierKey
from registry.projections.facts.changes import reads_whole_deal
from registry.projections.stream_cache import StreamCache
from registry.transparency.merkle import Frontier
from registry.transparency.tiles import Tile
from registry.transparency.tree import add_tiles

P = ParamSpec("P")
T = TypeVar("T")

PROJECTED_TOGETHER = 8
"""Events whose rows are computed together: most take 30 µs, those of some imported deals ten times that."""

MAX_PROCESSOR_SECONDS = 20.0
"""The most time that a submission of several announcements may take, because others wait for it: of the processor, so
that it does not depend on the machine's load. 10,000 pledges of one deal take 4 seconds, but 1,000 corrections of a
registration of a deal with 4,000 events would take 700."""


class Batch:
    """Events that are ready to be appended after `head`, and the outcome of every submission.

    Attributes:
        outcomes: For each validated submission its results, or the error that refused it.
        projection_seconds: Seconds that the rows of the projections took to compute.
        gave_up: Whether a submission was refused because it took too long.
        streams: Every stream that was loaded, as it is once the batch is committed.
        known_events: Events of the log with an id that a request gives, and the batch's own.
        stored_responses: Responses of the log with an idempotency key of a request, and the batch's own.
    """

    def __init__(
        self,
        head: Head,
        frontier: Frontier,
        cache: StreamCache,
        calendar: Calendar,
        rates: Rates,
        four_eyes: frozenset[str] = frozenset(),
    ) -> None:
        self.head = head
        self.frontier = frontier
        self.recorded_at = head.recorded_at or datetime.min.replace(tzinfo=UTC)
        self.streams: dict[str, FoldedStream[Any]] = {}
        self.events: list[SealedEvent] = []
        self.outcomes: list[list[AppendResult] | RegistryError] = []
        self.projection_seconds = 0.0
        self.gave_up = False
        self.known_events: dict[UUID, Recorded] = {}
        self.stored_responses: StoredResponses = {}
        self._cache = cache
        self._calendar = calendar
        self._today = date.min
        self._rates = rates
        self._four_eyes = four_eyes
        self._tiles: list[Tile] = []
        self._changes: list[AppliedChange] = []
        self._projectors = [projection.start_batch() for projection in PROJECTIONS]
        # Whether rows are computed with each event; see `validate`.
        self._projects_at_once = False
        self._idempotency_records: list[IdempotencyRecord] = []
        # The deals that requests of this batch gave an identifier; a refused request may have left one here.
        self._identified: dict[IdentifierKey, set[str]] = {}
        # Of the submission that is validated: processor time in seconds.
        self._used = 0.0
        self._slice = TimeSlice()
        # Whether so much was validated that the batch is freed in parts.
        self._is_large = False

    @property
    def new_head(self) -> Head:
        """The log's head once the batch is committed."""
        if not self.events:
            return self.head
        last = self.events[-1].recorded
        return Head(last.position, last.leaf_hash, last.recorded_at)

    async def validate(self, connection: Connection | Pool, submissions: Sequence[Submission], now: datetime) -> None:
        """Validate each submission by itself, in order. `outcomes` has the result of each.

        If a submission that is alone in its batch is refused, the batch writes nothing, so no row of it has to be
        undone. The rows of each of its events are therefore computed at once, and the state before the event is freed.
        To keep the states before and after each event, whose lists grow with the deal, took 1.4 GB for a list of 30,000
        pledges of one deal.
        """
        alone = submissions[0] if len(submissions) == 1 and not self.events else None
        self._projects_at_once = alone is not None and not (alone.has_redaction or alone.writes_nothing)
        self._is_large |= is_long(count_events(submissions))
        self.recorded_at = max(now, self.recorded_at)
        self._today = self._calendar.today()
        await self._load_streams(connection, (name for s in submissions for r in s.requests for name in _streams_of(r)))
        for submission in submissions:
            await self._slice.give_way()
            self._used = 0.0
            try:
                self.outcomes.append(await self._validate_submission(connection, submission))
            except RegistryError as refused:
                self.outcomes.append(_without_frames(refused))

    async def write(self, connection: Connection) -> None:
        """Write the batch in the caller's transaction, which holds the log's lock."""
        statement = self._log_writes()
        for index, change in enumerate(self._changes):
            if isinstance(change.recorded.event, EventRedacted):
                # redact_event() erases content only if the log has its redaction, so the events are written first.
                await statement.execute(connection, write_seconds(len(self.events)))
                self._changes[index] = await _redact(connection, change, change.recorded.event)
        await self._add_projections(statement)
        await statement.execute(connection, write_seconds(len(self.events)))

    async def as_one_statement(self) -> WriteBatch:
        """Everything that the batch writes. Not for redactions, which need several statements."""
        statement = self._log_writes()
        await self._add_projections(statement)
        return statement

    async def free(self, dropped: list[FoldedStream[Any]] | None = None) -> None:
        """Free a large batch, or one that read a long stream, in parts. The batch cannot be used any more.

        For a small one, that takes 5 % of a post and saves other requests less. If the requests of a long stream are
        refused, nothing else refers to it.

        Args:
            dropped: Streams that are freed with it.
        """
        if not self._is_large and not any(is_long(stream.version) for stream in self.streams.values()):
            return
        await freeing.empty(dropped or [], depth=0)
        for outcome in self.outcomes:
            if isinstance(outcome, list) and (len(outcome) > 1 or len(outcome[0].events) > 1):
                # The requests still have their results.
                freeing.once_unused(outcome)
                for result in outcome:
                    await self._slice.give_way()
                    freeing.once_unused(result.events)
        streams = list(self.streams.values())
        collections: list[Any] = [self.known_events, *self._projectors, self._tiles]
        long: list[Any] = [stream for stream in streams if is_long(stream.version)]
        # If there are several submissions, each is small, and so is everything that belongs to one of their events.
        depth = freeing.DEPTH if len(self.outcomes) == 1 else 0
        self.known_events, self.streams, self._projectors, self._tiles = {}, {}, [], []
        await freeing.empty(streams, depth=0)
        await freeing.empty(long)
        await freeing.empty(self.outcomes, self.events, self._changes, collections, depth=depth)

    def _log_writes(self) -> WriteBatch:
        """The events and the tiles of their tree."""
        statement = WriteBatch()
        store.append(statement, self.events)
        add_tiles(statement, self._tiles)
        return statement

    async def _add_projections(self, statement: WriteBatch) -> None:
        # Each change is freed here, with the states that only it needs: 10,000 of them at once take 160 ms.
        self._changes.reverse()
        rewritten = max((change.after.version for change in self._changes if change.erased), default=0)
        while self._changes:
            await self._slice.give_way()
            await self._project(self._take_changes())
        for projector in self._projectors:
            await self._slice.give_way()
            began = perf_counter()
            # A deal with a redaction is written again, which takes 0.4 ms of an event.
            await offload(rewritten, projector.write, statement)
            self.projection_seconds += perf_counter() - began
        if self._idempotency_records:
            statement.add(INSERT_RECORDS, rows=self._idempotency_records)

    def _take_changes(self) -> list[AppliedChange]:
        """Take the next changes: some of short streams together, or one of a long stream, which may take longer."""
        taken: list[AppliedChange] = []
        size = 0
        while self._changes and len(taken) < PROJECTED_TOGETHER and size < LONG:
            taken.append(self._changes.pop())
            size += taken[-1].after.version
        return taken

    async def _project(self, changes: Sequence[AppliedChange]) -> None:
        """Compute the rows of events: one projection after the other, so that its code stays in the processor's cache.

        The rows of a post then take 29 µs instead of 34, those of an imported line 34 instead of 39 (21 runs).
        """
        began = perf_counter()
        read = max(
            (change.after.version for change in changes if reads_whole_deal(change.before, change.after)), default=0
        )
        copies = [_copied_for_thread(change) for change in changes] if is_long(read) else changes
        await offload(read, self._measured, self._apply, copies)
        for change, copy in zip(changes, copies, strict=True):
            change.after.caches.sweeps = copy.after.caches.sweeps
        self.projection_seconds += perf_counter() - began

    def _measured(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work`, and add the processor time to that of the submission."""
        began = thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            self._used += thread_time() - began

    def _apply(self, changes: Sequence[AppliedChange]) -> None:
        for projector in self._projectors:
            for change in changes:
                projector.apply(change)

    async def _load(self, connection: Connection | Pool, names: Sequence[str]) -> list[FoldedStream[Any]]:
        await self._load_streams(connection, names)
        return [self.streams[name] for name in names]

    async def _load_streams(self, connection: Connection | Pool, names: Iterable[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self.streams]
        if missing:
            self.streams |= await self._cache.load(connection, missing)

    async def _validate_submission(self, connection: Connection | Pool, submission: Submission) -> list[AppendResult]:
        if len(submission.requests) == 1 and not submission.dry_run:
            return [await self._validate_request(connection, submission.requests[0])]
        undo = self._savepoint()
        results: list[AppendResult] = []
        for number, request in enumerate(submission.requests):
            try:
                results.append(await self._validate_request(connection, request))
            except RegistryError as refused:
                await undo()
                raise SubmissionError(number, refused) from refused
        if submission.dry_run:
            await undo()
            return [msgspec.structs.replace(result, new=False) for result in results]
        return results

    def _savepoint(self) -> Callable[[], Awaitable[None]]:
        """A function that restores the present content of the batch."""
        frontier, streams = self.frontier.copy(), self.streams.copy()
        stored_responses, known_events = self.stored_responses.copy(), self.known_events.copy()
        lists: tuple[list[Any], ...] = (self.events, self._tiles, self._changes, self._idempotency_records)
        lengths = [len(items) for items in lists]

        async def undo() -> None:
            dropped: list[Any] = [self.streams, self.stored_responses, self.known_events]
            self.frontier, self.streams = frontier, streams
            self.stored_responses, self.known_events = stored_responses, known_events
            for items, length in zip(lists, lengths, strict=True):
                added = items[length:]
                del items[length:]
                await freeing.empty(added)
            await freeing.empty(dropped)

        return undo

    async def _validate_request(self, connection: Connection | Pool, request: AppendRequest) -> AppendResult:
        """Validate one request and add its events to the batch."""
        if request.credential is not None:
            await self._check_rights(request, request.credential)
        key = (request.by, request.idempotency_key) if request.idempotency_key is not None else None
        if key is not None and key in self.stored_responses:
            digest, response = self.stored_responses[key]
            if digest not in (request.digest, b""):
                raise IdempotencyConflict(key=key[1])
            return replay_result(response)
        before = self.streams[request.stream]
        replayed: list[Recorded | None] = []
        for announcement in request.announcements:
            await self._slice.give_way()
            replayed.append(find_replayed(self.known_events, request, announcement))
        if None in replayed and not request.matches_version(before.version):
            raise VersionConflict(
                kind=request.kind, slug=request.slug, actual=before.version, expected=request.expected_version
            )
        events: list[SealedEvent] = []
        changes: list[AppliedChange] = []
        recorded: list[Recorded] = []
        try:
            stream = await self._admit_all(connection, request, replayed, events, changes, recorded)
        except RegistryError:
            await freeing.empty(changes, recorded, events)
            raise
        receipts = []
        for event_recorded in recorded:
            await self._slice.give_way()
            receipts.append(receipt_of(event_recorded, stream, self._today))
        flags: list[Flag] = []
        if request.shows_state:
            flags = await flags_of(stream, events, self._rates, partial(self._load, connection))
        # A thread assembles the states of a long list on copies, because readers and the next batch use the streams.
        size = len(events) if stream.last_change is not None else max(len(events), stream.version)
        sides = (before.copy_for_thread(), stream.copy_for_thread()) if is_long(size) else (before, stream)
        response = await offload(size, encode_response, request, *sides, events, receipts, flags)
        position = stream.events[-1].position
        new = bool(events) and not request.dry_run
        result = AppendResult(stream.version, position, receipts, flags, response, new=new)
        if new:
            await self._add(request, stream, events, changes, response)
        else:
            dropped: list[Any] = [stream, *sides]
            del stream, sides
            await freeing.empty(changes, recorded, events, dropped)
        return result

    async def _admit_all(
        self,
        connection: Connection | Pool,
        request: AppendRequest,
        replayed: Sequence[Recorded | None],
        events: list[SealedEvent],
        changes: list[AppliedChange],
        recorded: list[Recorded],
    ) -> FoldedStream[Any]:
        """Admit the request's announcements one after another, and return the stream after them.

        Args:
            connection: Loads the streams that they refer to.
            request: The request.
            replayed: For each announcement the event that was recorded from it before, if any.
            events: The new events are added here.
            changes: What they change is added here.
            recorded: All events, replayed ones too, are added here.
        """
        stream = self.streams[request.stream]
        load = partial(self._load, connection)
        pairs = zip(request.announcements, replayed, strict=True)
        for number, (announcement, known) in enumerate(pairs):
            await self._slice.give_way()
            if known is not None:
                recorded.append(known)
                continue
            pointer = f"/{number}" if len(request.announcements) > 1 else ""
            if self._used > MAX_PROCESSOR_SECONDS:
                self.gave_up = True
                raise Invalid([FieldError(pointer, "too_much_work", seconds=f"{MAX_PROCESSOR_SECONDS:g}")])
            if is_long(stream.version):
                memory.collect_often()
            event = self._seal(request, stream, announcement, len(events))
            after = await self._admit(stream, event.recorded)
            check_claim_date(after, announcement, event.recorded.id, pointer)
            await check_merge(stream, after, load)
            await check_identifiers(connection, stream, after, self._identified, load)
            # A dry run needs no changes, and freeing thousands of them at once takes 20 µs each.
            if not request.dry_run:
                change = AppliedChange(event.recorded, stream, after)
                if self._projects_at_once:
                    await self._project((change,))
                else:
                    changes.append(change)
            events.append(event)
            recorded.append(event.recorded)
            stream = after
        return stream

    async def _admit(self, stream: FoldedStream[Any], recorded: Recorded) -> FoldedStream[Any]:
        """The stream with a new event. One about other events may fold the whole stream again."""
        if is_long(stream.version) and isinstance(recorded.event, (EventRedacted, EventCorrected, EventVoided)):
            return await offload(stream.version, self._measured, admit, stream.copy_for_thread(), recorded)
        return self._measured(admit, stream, recorded)

    async def _check_rights(self, request: AppendRequest, credential: Credential) -> None:
        """Check the rights that the request needs, as the events before it in the log give them (property 48).

        Raises:
            Unauthorized, Forbidden: The principal may not record the announcements.
            ApprovalRequired: A second principal must approve them.
        """
        if request.approved_by == request.by:
            raise Forbidden("own_proposal")
        stream: FoldedStream[Principal] = self.streams[stream_name("principal", credential.id)]
        principal = stream.state if stream.events else None
        for start in range(0, len(request.announcements), LONG):
            some = request.announcements[start : start + LONG]
            check_rights(principal, credential, self.recorded_at, request.kind, request.slug, some)
            await self._slice.give_way()
        if self._four_eyes and not request.has_second_principal and not request.dry_run:
            types = {tag_of(announcement.event) for announcement in request.announcements} & self._four_eyes
            if types:
                raise ApprovalRequired(types=tuple(sorted(types)))

    async def _add(
        self,
        request: AppendRequest,
        stream: FoldedStream[Any],
        events: Sequence[SealedEvent],
        changes: Sequence[AppliedChange],
        response: bytes,
    ) -> None:
        for event in events:
            await self._slice.give_way()
            self._tiles += self.frontier.append(event.recorded.leaf_hash)
            self.known_events[event.recorded.id] = event.recorded
        self.events += events
        self._changes += changes
        self.streams[request.stream] = stream
        if request.idempotency_key is not None:
            self.stored_responses[request.by, request.idempotency_key] = (request.digest, response)
            self._idempotency_records.append(
                IdempotencyRecord(
                    request.by, request.idempotency_key, request.digest, response, request.stream, self.recorded_at
                )
            )

    def _seal(
        self,
        request: AppendRequest,
        stream: FoldedStream[Any],
        announcement: AnyAnnouncement,
        offset: int,
    ) -> SealedEvent:
        """The announcement as an event, `offset` places after the batch's last one."""
        filled = msgspec.structs.replace(
            announcement,
            id=announcement.id or uuid7(self.recorded_at),
            event=fill_defaults(stream, announcement.event),
        )
        last = self.events[-1].recorded if self.events else self.head
        position = last.position + offset + 1
        place = LogPlace(request.kind, request.slug, stream.version + 1, position, stream.leaf_hash)
        return seal(filled, place, Recording(self.recorded_at, request.by, request.approved_by))


def _without_frames(refused: RegistryError) -> RegistryError:
    """The error without the frames that raised it and its causes.

    They refer to this batch, whose outcome the error is, and to states of the stream. Such a cycle stays in memory
    until all objects are looked through: 4,000 refused lines of a deal of 4,000 events kept 400 MB.
    """
    error: BaseException | None = refused
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
    return refused


def _streams_of(request: AppendRequest) -> tuple[str, ...]:
    """The streams that validating a request reads: its own, and that of the principal whose rights it needs."""
    if request.credential is None:
        return (request.stream,)
    return (request.stream, stream_name("principal", request.credential.id))


def _copied_for_thread(change: AppliedChange) -> AppliedChange:
    before, after = change.before.copy_for_thread(), change.after.copy_for_thread()
    return msgspec.structs.replace(change, before=before, after=after)


async def _redact(connection: Connection, change: AppliedChange, event: EventRedacted) -> AppliedChange:
    """Erase the event's content, and what quotes it, wherever it is stored."""
    stream = change.after
    targets = {stream.record.by_id[id].recorded.position for id in (event.redacts, *event.also)}
    for target in sorted(targets):
        await store.erase(connection, change.recorded.position, target)
    await connection.execute(REDACT_RESPONSES, stream_name(change.recorded.kind, change.recorded.slug))
    return AppliedChange(change.recorded, change.before, stream, erased=True)
