"""Whether the log is what it was: the whole of it against the checkpoints that were signed, or one bundle without it.

Believes nothing but the bytes and the verifier keys it is given: every hash is computed anew, every column is held
against the entry that was hashed, and every state is folded again from the events. It repairs nothing, signs nothing,
and reads the database in one snapshot.
"""

from __future__ import annotations

from asyncio import create_task, sleep, wait
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from msgspec import Struct

from registry.domain.fold import DEALS
from registry.domain.history import AsOf, state_as_of
from registry.domain.redaction import keep_redacted_effects
from registry.errors import LogCorrupt, UnknownEventType
from registry.events import store
from registry.events.codec import Entry, canonical, content_digest, decode_content, decode_entry, from_row
from registry.events.types import EVENT_TYPES, EventRedacted, Recorded
from registry.infra.postgres import Connection, Pool
from registry.queries import answers
from registry.transparency.checkpoint import Checkpoint, CheckpointError, Proof, VerifierKey, open_checkpoint
from registry.transparency.heads import StreamHead, StreamHeadTree, open_heads, verify_head
from registry.transparency.merkle import (
    HASH_SIZE,
    TILE_HEIGHT,
    TILE_WIDTH,
    Frontier,
    ProofError,
    Tile,
    leaf_hash,
    verify_inclusion,
)
from registry.transparency.tree import count_tiles, load_stored_tiles

# Positions read at once. A multiple of a tile's width, so that each page has its tiles.
PAGE = 16 * TILE_WIDTH

# A hash in JSON is written in hexadecimal, in C2SP's texts in base64.
Hex = str


class TrustedCheckpoint(Struct, frozen=True):
    """A checkpoint that the log must not contradict, and where it was found.

    `heads` is the root of all streams' last events that was signed with it: None for one that is not to be recomputed.
    """

    where: str
    checkpoint: Checkpoint
    heads: bytes | None = None


class LogVerification(Struct, frozen=True, kw_only=True):
    """What was found to be so of the whole log."""

    size: int
    root: Hex
    heads: Hex
    streams: int
    erased: int
    checkpoints: int


# --- the whole log ----------------------------------------------------------------------------------------------------


async def verify_log(
    pool: Pool, known: Sequence[TrustedCheckpoint], progress: Callable[[int, int], None] = lambda done, size: None
) -> LogVerification:
    """Recomputes the whole log from its bytes and holds it against the checkpoints.

    `progress` is told how many events are done, and of how many. Raises Corrupt, which names the first bad position.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        below, size, orphan = await store.find_anomalies(connection)
        if below is not None:
            raise LogCorrupt(detail=f"there is a position {below}, and the first is 1.")
        walk = _LogVerifier(known)
        walk.check_checkpoints(0)
        page = create_task(_page(connection, 0))
        try:
            for start in range(0, size, PAGE):
                rows, tiles = await page
                # The database fetches the next page while this one is checked, once the question has left.
                page = create_task(_page(connection, start + PAGE))
                await sleep(0)
                completed = walk.take(rows, min(start + PAGE, size), tiles)
                progress(min(start + PAGE, size), size)
                for tile in completed:
                    await wait([page])  # a connection answers one question at a time
                    stored = await load_stored_tiles(connection, tile.level, tile.number, tile.number + 1)
                    walk.compare(tile, stored[0] if stored else None)
        finally:
            await wait([page])
        if orphan is not None:
            raise LogCorrupt(detail=f"there is content for a position {orphan}, and no event.")
        count = await count_tiles(connection)
    return walk.finish(size, count)


async def _page(connection: Connection, start: int) -> tuple[list[Any], dict[int, Tile]]:
    rows = await store.raw_rows(connection, start, start + PAGE)
    tiles = await load_stored_tiles(connection, 0, start // TILE_WIDTH, (start + PAGE) // TILE_WIDTH)
    return rows, {tile.number: tile for tile in tiles}


class _Tagged(Struct, frozen=True):
    type: str


class _RawContent(Struct, frozen=True):
    event: _Tagged


_said = msgspec.json.Decoder(_RawContent).decode


class _LogVerifier:
    """What is known of the log up to the last position that was taken."""

    def __init__(self, known: Sequence[TrustedCheckpoint]) -> None:
        self.frontier = Frontier()
        self.streams: dict[str, tuple[int, str]] = {}
        self.erased: dict[UUID, tuple[int, str]] = {}
        self.redacted: dict[UUID, tuple[int, str]] = {}
        self.waiting: dict[int, list[TrustedCheckpoint]] = {}
        for one in known:
            self.waiting.setdefault(one.checkpoint.size, []).append(one)
        self.checkpoints = len(known)
        self.good = 0

    def take(self, rows: Sequence[Any], until: int, tiles: dict[int, Tile]) -> list[Tile]:
        """The rows of a page, which are to reach `until`; gives the tiles they completed above the lowest level."""
        above: list[Tile] = []
        expected = self.frontier.size
        for row in rows:
            expected += 1
            if row["position"] != expected:
                self._misplaced(row["position"], expected)
            for tile in self.frontier.append(self._leaf(row)):
                if tile.level:
                    above.append(tile)
                else:
                    self.compare(tile, tiles.get(tile.number))
            if expected in self.waiting:
                self.check_checkpoints(expected)
        if expected != until:
            raise LogCorrupt(detail=f"position {expected + 1} is missing.")
        return above

    def _leaf(self, row: Any) -> bytes:
        """The leaf hash of a row's entry, once its columns, its content and its place in its stream agree with it."""
        position, stream, version, id, type, schema, effective_on, published_on, recorded_at, recorded_by = row[:10]
        entry, stored_leaf, _, content, salt = row[10:]
        before = self.streams.get(stream)
        whole = Entry(
            content=self._erased(row) if content is None or salt is None else sha256(salt + content).hexdigest(),
            effective_on=effective_on,
            id=id,
            previous=before[1] if before else None,
            published_on=published_on,
            recorded_at=recorded_at,
            recorded_by=recorded_by,
            schema=schema,
            stream=stream,
            type=type,
            version=version,
        )
        if canonical(whole) != entry or version != (before[0] + 1 if before else 1):
            self._wrong_entry(position, whole, entry, before)
        leaf = sha256(b"\x00" + entry).digest()
        if leaf != stored_leaf:
            raise LogCorrupt(detail=f"position {position}: its leaf hash is not that of its entry.")
        if content is not None:
            self._said(position, stream, type, schema, content)
        self.streams[stream] = (version, leaf.hex())
        return leaf

    def _misplaced(self, position: int, expected: int) -> NoReturn:
        if position == expected - 1:
            raise LogCorrupt(detail=f"position {position} is there twice.")
        raise LogCorrupt(detail=f"position {expected} is missing.")

    def _erased(self, row: Any) -> str:
        """The digest that the entry has of content that is gone; whether it may be gone is settled at the end."""
        position = row["position"]
        if row["content_position"] is None:
            raise LogCorrupt(detail=f"position {position}: the row of its content is missing.")
        if row["content"] is not None or row["salt"] is not None:
            raise LogCorrupt(detail=f"position {position}: of its content and its salt one is missing.")
        self.erased[row["id"]] = (position, row["stream"])
        return _entry(position, row["entry"]).content

    def _wrong_entry(self, position: int, whole: Entry, stored: bytes, before: tuple[int, str] | None) -> NoReturn:
        """Says in which field an entry differs from what stands beside it."""
        entry = _entry(position, stored)
        for name in Entry.__struct_fields__:
            if getattr(entry, name) != getattr(whole, name):
                what = {
                    "content": "its content and salt are not those of the digest in its entry",
                    "previous": "its entry names another event before it in its stream than the one that is there",
                }.get(name, f"its {name} is not that of its entry")
                raise LogCorrupt(detail=f"position {position}: {what}.")
        if entry.version != (before[0] + 1 if before else 1):
            raise LogCorrupt(detail=f"position {position}: version {entry.version} of {entry.stream} is out of order.")
        raise LogCorrupt(detail=f"position {position}: its entry is not written canonically.")

    def _said(self, position: int, stream: str, type: str, schema: int, content: bytes) -> None:
        """What the content is, as far as evidence needs it: whether it can be folded, `rebuild --check` tells."""
        try:
            said = _said(content).event.type
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LogCorrupt(detail=f"position {position}: its content cannot be read ({error}).") from error
        if said != type:
            raise LogCorrupt(detail=f"position {position}: its content is of type {said}, its entry of {type}.")
        known = EVENT_TYPES.get(type)
        if known is None or schema > known.schema:
            raise UnknownEventType(position=position, type=type, schema=schema)
        if known is EventRedacted:
            event = decode_content(content, type, schema, position).event
            assert isinstance(event, EventRedacted)
            for gone in (event.redacts, *event.also):
                self.redacted[gone] = (position, stream)

    def compare(self, tile: Tile, stored: Tile | None) -> None:
        """Holds a computed tile against the stored one."""
        span = TILE_WIDTH ** (tile.level + 1)
        first = tile.number * span + 1
        over = f"the tile of level {tile.level} over positions {first} to {first + span - 1}"
        if stored is None:
            raise LogCorrupt(detail=f"{over} is missing.")
        if stored == tile:
            return
        for at in range(TILE_WIDTH):
            here = slice(at * HASH_SIZE, (at + 1) * HASH_SIZE)
            if stored.hashes[here] != tile.hashes[here]:
                bad = first + at * (span // TILE_WIDTH)
                raise LogCorrupt(detail=f"position {bad}: its entry is not the one in {over}.")
        raise LogCorrupt(detail=f"{over} has a wrong root or a wrong length.")

    def check_checkpoints(self, size: int) -> None:
        """Holds the tree as it was at this size against the checkpoints that were signed at it."""
        for known in self.waiting.pop(size, ()):
            if known.checkpoint.root != self.frontier.root():
                raise LogCorrupt(
                    detail=f"the first {size} events have another root than {known.where} commits to: one of positions "
                    f"{self.good + 1} to {size} is not what it was."
                )
            if known.heads is not None and known.heads != self._heads().root():
                raise LogCorrupt(
                    detail=f"{known.where} commits to other last events of the streams than there were then."
                )
        self.good = size

    def _heads(self) -> StreamHeadTree:
        heads = StreamHeadTree()
        heads.update(StreamHead(name, version, bytes.fromhex(leaf)) for name, (version, leaf) in self.streams.items())
        return heads

    def finish(self, size: int, tiles: int) -> LogVerification:
        """What holds of the whole only."""
        if self.waiting:
            missing = min(self.waiting)
            where = self.waiting[missing][0].where
            raise LogCorrupt(
                detail=f"the log ends at position {size}, and {where} commits to {missing} events: position {size + 1} "
                "is the first that was cut off."
            )
        for id, (position, stream) in self.erased.items():
            if self.redacted.get(id, (0, ""))[1] != stream:
                raise LogCorrupt(detail=f"position {position}: its content is gone, and no redaction says so.")
        for id, (position, _) in self.redacted.items():
            if id not in self.erased:
                raise LogCorrupt(detail=f"position {position}: what it erased is there again ({id}).")
        if tiles != sum(size >> TILE_HEIGHT * level for level in range(1, 8)):
            raise LogCorrupt(detail="there are tiles beyond the end of the log.")
        return LogVerification(
            size=size,
            root=self.frontier.root().hex(),
            heads=self._heads().root().hex(),
            streams=len(self.streams),
            erased=len(self.erased),
            checkpoints=self.checkpoints,
        )


def _entry(position: int, entry: bytes) -> Entry:
    try:
        return decode_entry(entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogCorrupt(detail=f"position {position}: its entry cannot be read ({error}).") from error


# --- a bundle, without the log ----------------------------------------------------------------------------------------


class ProvenEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event with the bytes that were hashed, as text, and its audit path.

    `content` and `salt` are null once erased.
    """

    position: int
    entry: str
    content: str | None
    salt: Hex | None
    path: tuple[Hex, ...]


class ProvenHead(Struct, frozen=True, forbid_unknown_fields=True):
    """The proof of a stream's last event: its leaf in the tree of heads, the audit path, and the signed statement."""

    lines: str
    path: tuple[Hex, ...]
    statement: str


class Bundle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="bundle"):
    """What can be checked offline."""


class Certificate(Bundle, frozen=True, kw_only=True, tag="deal-state@v1"):
    """A deal's state at a point in time, with everything that it follows from.

    All its events up to the checkpoint, the proof that these are all, and the checkpoint. `clocks` is what was asked.
    """

    deal: str
    clocks: AsOf
    state: Any
    events: tuple[ProvenEvent, ...]
    head: ProvenHead
    checkpoint: str


class Inclusion(Bundle, frozen=True, kw_only=True, tag="event@v1"):
    """An event, its place in the tree of `size` leaves, and the checkpoint of that size if one was signed."""

    position: int
    size: int
    root: Hex
    leaf_hash: Hex
    path: tuple[Hex, ...]
    entry: str
    content: str | None
    salt: Hex | None
    checkpoint: str | None


_bundle = msgspec.json.Decoder(Certificate | Inclusion)


class BundleVerification(Struct, frozen=True, kw_only=True):
    """What a bundle proves."""

    proves: str
    position: int
    size: int
    origin: str
    erased: int = 0


def verify_bundle(data: bytes, keys: Iterable[VerifierKey]) -> BundleVerification:
    """Checks a bundle with the log's verifier keys and nothing else.

    Takes what `?certificate=true` and the inclusion proofs answer, as JSON or as C2SP tlog-proof. Raises Corrupt.
    """
    keys = tuple(keys)
    try:
        if not data.lstrip().startswith(b"{"):
            return _check_proof(Proof.parse(data.decode()), keys)
        bundle = _bundle.decode(data)
        if isinstance(bundle, Inclusion):
            return _check_inclusion(bundle, keys)
        return _check_certificate(bundle, keys)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise LogCorrupt(detail=f"this is no bundle ({error}).") from error
    except (ProofError, CheckpointError) as error:
        raise LogCorrupt(detail=str(error)) from error


def _check_proof(proof: Proof, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    if proof.extra is None:
        raise LogCorrupt(
            detail="the proof does not carry its entry: ask for it here again, or check it with the entry."
        )
    checkpoint = proof.verify(leaf_hash(proof.extra), keys)
    entry = _entry(proof.index + 1, proof.extra)
    return BundleVerification(
        proves=f"{entry.type}, version {entry.version} of {entry.stream}, is the log's event {proof.index + 1}; what "
        "it says is not in this bundle",
        position=proof.index + 1,
        size=checkpoint.size,
        origin=checkpoint.origin,
    )


def _check_inclusion(bundle: Inclusion, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    if bundle.checkpoint is None:
        raise LogCorrupt(detail="the bundle has no checkpoint: nobody has signed the tree that it leads to.")
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    if (bundle.size, bundle.root) != (checkpoint.size, checkpoint.root.hex()):
        raise LogCorrupt(detail="its size and root are not those of its checkpoint.")
    proven = ProvenEvent(
        position=bundle.position, entry=bundle.entry, content=bundle.content, salt=bundle.salt, path=bundle.path
    )
    recorded = _check_event(proven, checkpoint)
    if recorded.leaf_hash.hex() != bundle.leaf_hash:
        raise LogCorrupt(detail="its leaf hash is not that of its entry.")
    said = "its content is not in this bundle" if recorded.erased else "and this is what was said"
    return BundleVerification(
        proves=f"{recorded.type}, version {recorded.version} of {recorded.kind}/{recorded.slug}, is the log's event "
        f"{recorded.position}; {said}",
        position=recorded.position,
        size=checkpoint.size,
        origin=checkpoint.origin,
    )


def _check_event(proven: ProvenEvent, checkpoint: Checkpoint) -> Recorded:
    """The event that an entry and its content make, once they are proved. Its `previous` is not looked at."""
    bytes_ = proven.entry.encode()
    leaf = leaf_hash(bytes_)
    verify_inclusion(proven.position - 1, checkpoint.size, leaf, _hashes(proven.path), checkpoint.root)
    entry = _entry(proven.position, bytes_)
    content = None
    if proven.content is not None and proven.salt is not None:
        content = proven.content.encode()
        if content_digest(_hash(proven.salt), content) != entry.content:
            raise LogCorrupt(
                detail=f"position {proven.position}: its content is not the one that its entry commits to."
            )
    elif proven.content is not None or proven.salt is not None:
        raise LogCorrupt(detail=f"position {proven.position}: of its content and its salt one is missing.")
    fields = msgspec.structs.asdict(entry)
    return from_row({**fields, "position": proven.position, "leaf_hash": leaf, "content": content})


def _check_certificate(bundle: Certificate, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    stream = f"deal/{bundle.deal}"
    events: list[Recorded] = []
    previous: Recorded | None = None
    for proven in bundle.events:
        recorded = _check_event(proven, checkpoint)
        named = _entry(proven.position, proven.entry.encode()).previous
        if (
            f"{recorded.kind}/{recorded.slug}" != stream
            or recorded.version != len(events) + 1
            or named != (previous.leaf_hash.hex() if previous else None)
            or (previous is not None and recorded.position <= previous.position)
        ):
            raise LogCorrupt(detail=f"position {proven.position} is not the event {len(events) + 1} of {stream}.")
        events.append(recorded)
        previous = recorded
    head, heads, _ = open_heads(bundle.head.statement, keys)
    if previous is None or head != checkpoint:
        raise LogCorrupt(detail="the bundle has no events, or a statement of heads that is of another checkpoint.")
    last = verify_head(stream, bundle.head.lines, _hashes(bundle.head.path), heads)
    if last != StreamHead(stream, previous.version, previous.leaf_hash):
        raise LogCorrupt(detail=f"the checkpoint has another last event of {stream} than the last that is shown.")
    _check_redactions(events)
    folded = state_of(bundle.deal, events, bundle.clocks, checkpoint.size)
    if msgspec.json.decode(answers.encode(folded)) != bundle.state:
        raise LogCorrupt(detail="the state is not the one that these events make.")
    return BundleVerification(
        proves=f"the registry held this state of {bundle.deal} at position {bundle.clocks.position}; it follows from "
        f"all {len(events)} events that the deal had at position {checkpoint.size}",
        position=bundle.clocks.position or 0,
        size=checkpoint.size,
        origin=checkpoint.origin,
        erased=sum(event.erased for event in events),
    )


def _check_redactions(events: Sequence[Recorded]) -> None:
    """Content may be absent only where a redaction that is shown says that it was erased."""
    gone = {id for e in events if isinstance(e.event, EventRedacted) for id in (e.event.redacts, *e.event.also)}
    for event in events:
        if event.erased and event.id not in gone:
            raise LogCorrupt(detail=f"position {event.position}: its content was left out, and no redaction says so.")


def state_of(deal: str, events: Sequence[Recorded], clocks: AsOf, size: int) -> answers.DealAnswer:
    """A deal's state as a certificate shows it. Raises Corrupt when the point in time is not fixed in the log."""
    if clocks.position is None or clocks.effective_on is None or clocks.position > size:
        raise LogCorrupt(detail="the bundle does not fix the point in time that its state is of.")
    seen = state_as_of(deal, keep_redacted_effects(events), clocks, DEALS)
    if seen.state is None:
        raise LogCorrupt(detail="the deal was not known there.")
    return answers.deal_answer(seen.state, seen, clocks, clocks.effective_on)


def _hashes(path: Iterable[Hex]) -> list[bytes]:
    return [_hash(each) for each in path]


def _hash(text: Hex) -> bytes:
    # One way to write it only: else a changed text could mean the same.
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text or len(data) != HASH_SIZE:
        raise ProofError(reason=f"'{text[:80]}' is no hash of {HASH_SIZE} bytes in hexadecimal.")
    return data


__all__ = [
    "BundleVerification",
    "Certificate",
    "Connection",
    "Inclusion",
    "LogVerification",
    "ProvenEvent",
    "ProvenHead",
    "TrustedCheckpoint",
    "state_of",
    "verify_bundle",
    "verify_log",
]
