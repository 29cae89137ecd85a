"""Proposals: announcements that wait for another principal, in a table and not in the log.

An approval names the digest of what it approves, so a change in the meantime is not approved. The approved
announcements are recorded as those of the principal who proposed them, with the approver beside it; their ids were
given when they were proposed, so an approval that is repeated after a lost answer records nothing twice. The content is
deleted with the decision: what was approved is in the log, where it can be redacted. The row stays and names those who
changed the proposal; none of them can be the second principal that `REGISTRY_FOUR_EYES` requires.

A seal under a key outside the database binds the proposer and those who changed the proposal to the content. So the
password of the application's role is not enough to have something approved as another's, to exchange what the reviewer
has read, or to hide that the reviewer has written a part.

All decisions about a proposal are in this file; hence its length.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import structlog
from msgspec import Struct
from msgspec.structs import replace

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult, SubmissionError
from registry.append.seal import uuid7
from registry.domain.principal import Credential, required_scope
from registry.errors import ApprovalRequired, Forbidden, NotFound, ProposalChanged, ProposalDecided, ProposalForged
from registry.events import intake, store
from registry.events.codec import canonical
from registry.events.types import AnnouncedKind, Announcement, OrganizationAnnouncement, tag_of
from registry.infra.postgres import Connection, Pool
from registry.infra.secret_box import SecretBox
from registry.infra.threads import offload

log = structlog.get_logger(__name__)

Status = Literal["open", "approved", "rejected"]

INSERT = """
INSERT INTO proposals (id, submission, kind, slug, announcements, digest, proposed_by, proposed_at, status, seal)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9)
"""

PAGE_BYTES = 8 * 2**20
"""Bytes of the announcements of a page of proposals, beside those of the first."""

LISTED_BYTES = 16 * 2**10
"""Bytes of the announcements of a proposal that a list reads."""

SHORT_ANNOUNCEMENT_BYTES = 200

_COLUMNS = """
SELECT id, submission, kind, slug, announcements, digest, proposed_by, proposed_at, changed_by, changed_at, status,
       decided_by, decided_at, reason, position, seal
  FROM proposals
"""

SELECT_ONE = f"{_COLUMNS} WHERE id = $1"
SELECT_FOR_UPDATE = f"{_COLUMNS} WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
SELECT_SUBMISSION = f"{_COLUMNS} WHERE submission = $1 ORDER BY id"

SELECT_IS_OWN = "SELECT bool_and(proposed_by = $2) FROM proposals WHERE submission = $1"

# As many as are asked for, but no more than fit in $5 bytes beside the first.
SELECT_PAGE = """
SELECT id, submission, kind, slug, announcements, digest, proposed_by, proposed_at, changed_by, changed_at, status,
       decided_by, decided_at, reason, position, seal
  FROM (SELECT *, row_number() OVER newest AS number,
               sum(coalesce(octet_length(announcements), 0)) OVER newest AS bytes
          FROM (SELECT *
                  FROM proposals
                 WHERE ($1::text IS NULL OR status = $1)
                   AND ($2::text IS NULL OR proposed_by = $2 OR $2 = ANY(changed_by))
                   AND ($3::uuid IS NULL OR id < $3)
                 ORDER BY id DESC
                 LIMIT $4) AS wanted
        WINDOW newest AS (ORDER BY id DESC)) AS sized
 WHERE number = 1 OR bytes <= $5
 ORDER BY id DESC
"""

# A submission's first proposal is its first deal: that is what a reviewer looks for.
SELECT_SUBMISSIONS = """
SELECT submission, count(*) AS proposals, (array_agg(id ORDER BY kind, id))[1] AS first
  FROM proposals
 WHERE status = $1 AND ($2::text IS NULL OR proposed_by = $2 OR $2 = ANY(changed_by))
   AND ($3::uuid IS NULL OR submission < $3)
 GROUP BY submission
 ORDER BY submission DESC
 LIMIT $4
"""

# Lists show the names of new deals and organizations, which short proposals give; those of over $2 bytes are not read.
SELECT_LISTED = """
SELECT id, submission, kind, slug, CASE WHEN octet_length(announcements) <= $2 THEN announcements END AS announcements,
       digest, proposed_by, proposed_at, changed_by, changed_at, status, decided_by, decided_at, reason, position, seal
  FROM proposals
 WHERE id = ANY($1::uuid[])
"""

SELECT_WAITING = f"""{_COLUMNS}
 WHERE status = 'open' AND slug = ANY($1::text[]) AND digest = ANY($2::bytea[])
"""

UPDATE_CONTENT = """
UPDATE proposals SET announcements = $2, digest = $3, changed_by = $4, changed_at = $5, seal = $6 WHERE id = $1
"""

UPDATE_DECISION = """
UPDATE proposals
   SET status = $2, decided_by = $3, decided_at = $4, reason = $5, position = $6, announcements = NULL
 WHERE id = $1
"""


ProposedPart: TypeAlias = tuple[AnnouncedKind, str, Sequence[Announcement | OrganizationAnnouncement]]
"""Announcements for one stream: its kind, its slug, and the announcements."""


class Proposal(Struct, frozen=True, kw_only=True):
    """Announcements that are proposed for one stream.

    Attributes:
        submission: What was proposed together has the same one, such as the deals of one article.
        announcements: The list as canonical JSON; None once it is decided.
        digest: SHA-256 of the stream and the list.
        proposed_by: Who proposed it first. Events are recorded as this principal's.
        changed_by: Who changed it since, in order.
        changed_at: When each of them did.
        position: The log position of the last event, once it is approved.
    """

    id: UUID
    submission: UUID
    kind: AnnouncedKind
    slug: str
    announcements: bytes | None
    digest: bytes
    proposed_by: str
    proposed_at: datetime
    changed_by: Sequence[str] = ()
    changed_at: Sequence[datetime] = ()
    status: Status
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    position: int | None
    seal: bytes

    @property
    def author(self) -> str:
        """The principal who changed the content last; the proposer if it was never changed."""
        return self.changed_by[-1] if self.changed_by else self.proposed_by

    @property
    def writers(self) -> frozenset[str]:
        """The principals who have written any of it. None of them counts as a second principal."""
        return frozenset((self.proposed_by, *self.changed_by))

    def decoded(self) -> list[Announcement | OrganizationAnnouncement]:
        """The announcements; none once it is decided."""
        if self.announcements is None:
            return []
        decoder: Any = intake.announcements if self.kind == "deal" else intake.organization_announcements
        decoded: list[Announcement | OrganizationAnnouncement] = decoder.decode_many(self.announcements)
        return decoded

    async def read(self) -> list[Announcement | OrganizationAnnouncement]:
        """The same, from a thread if they are many."""
        return await offload(self.size, self.decoded)

    @property
    def size(self) -> int:
        """About how many announcements these are, or would be if they were short."""
        return len(self.announcements or b"") // SHORT_ANNOUNCEMENT_BYTES


def may_review(credential: Credential) -> bool:
    """Whether a principal sees all proposals and decides on them: it has a scope that records something."""
    return any(credential.allows(scope) for scope in ("record", "correct", "redact"))


class ListedSubmission(Struct, frozen=True):
    """What was proposed together, in a list: its first proposal, and how many proposals have the status."""

    first: Proposal
    count: int


class ProposedImport(Struct, frozen=True):
    """What came of the announcements of an import.

    Attributes:
        proposals: The new proposals, as one submission.
        waiting: Open proposals of earlier submissions with the same content.
        recorded: Announcements that are recorded already.
    """

    proposals: list[Proposal]
    waiting: list[Proposal]
    recorded: frozenset[UUID]

    def by_stream(self) -> dict[tuple[AnnouncedKind, str], Proposal]:
        """The proposal of each deal and organization."""
        return {(one.kind, one.slug): one for one in (*self.waiting, *self.proposals)}


class Proposals:
    """The queue."""

    def __init__(self, pool: Pool, recorder: Recorder, box: SecretBox) -> None:
        self._pool = pool
        self._recorder = recorder
        self._box = box

    async def propose(
        self,
        credential: Credential,
        kind: AnnouncedKind,
        slug: str,
        announcements: Sequence[Announcement | OrganizationAnnouncement],
    ) -> Proposal:
        """Add announcements to the queue.

        Raises:
            Forbidden: The principal may neither propose nor record them.
        """
        return (await self.propose_all(credential, [(kind, slug, announcements)]))[0]

    async def propose_all(
        self,
        credential: Credential,
        proposed: Sequence[ProposedPart],
        submission: UUID | None = None,
    ) -> list[Proposal]:
        """Add announcements for several deals and organizations to the queue, as one submission.

        Args:
            credential: Who proposes them.
            proposed: The announcements of each deal and organization.
            submission: An earlier submission of the principal that they join. Default: a new one.

        Raises:
            Forbidden: The principal may neither propose nor record them; nothing was added.
            NotFound: The submission is not the principal's; nothing was added.
        """
        size = sum(len(announcements) for _, _, announcements in proposed)
        await offload(size, _check_authors, credential, proposed)
        now = datetime.now(UTC)
        if submission is not None and not await self._pool.fetchval(SELECT_IS_OWN, submission, credential.id):
            raise NotFound("proposal", proposal=str(submission))
        together = submission or uuid7(now)
        # A millisecond apart, so that the ids have the order in which the announcements were proposed.
        ids = [uuid7(now + timedelta(milliseconds=number)) for number in range(len(proposed))]
        made = await offload(
            size,
            lambda: [self._proposal(credential, together, now, *one) for one in zip(ids, proposed, strict=True)],
        )
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(INSERT, [_row(one) for one in made])
        return made

    async def propose_import(
        self, credential: Credential, proposed: Sequence[ProposedPart], submission: UUID | None = None
    ) -> ProposedImport:
        """Add the announcements of an import, or of a piece of it, to the queue, as one submission.

        Leaves out announcements that are recorded, or wait with the same content, so a repeated import proposes nothing
        twice. Otherwise as `propose_all`.
        """
        ids = [one.id for _, _, announcements in proposed for one in announcements if one.id is not None]
        recorded = frozenset(await store.recorded_ids(self._pool, ids)) if ids else frozenset()
        new: list[ProposedPart] = []
        for kind, slug, announcements in proposed:
            left = [one for one in announcements if one.id not in recorded]
            if left:
                new.append((kind, slug, left))
        now = datetime.now(UTC)
        digests = await offload(
            len(ids), lambda: [_digest(kind, slug, _with_ids(announcements, now)) for kind, slug, announcements in new]
        )
        rows = await self._pool.fetch(SELECT_WAITING, [slug for _, slug, _ in new], digests) if new else []
        waiting = [one for row in rows if _is_visible(one := Proposal(**row), credential)]
        known = {one.digest for one in waiting}
        new = [part for part, digest in zip(new, digests, strict=True) if digest not in known]
        made = await self.propose_all(credential, new, submission) if new else []
        return ProposedImport(made, waiting, recorded)

    def _proposal(
        self,
        credential: Credential,
        submission: UUID,
        now: datetime,
        id: UUID,
        proposed: ProposedPart,
    ) -> Proposal:
        kind, slug, announcements = proposed
        content = _with_ids(announcements, now)
        digest = _digest(kind, slug, content)
        return Proposal(
            id=id,
            submission=submission,
            kind=kind,
            slug=slug,
            announcements=content,
            digest=digest,
            proposed_by=credential.id,
            proposed_at=now,
            status="open",
            decided_by=None,
            decided_at=None,
            reason=None,
            position=None,
            seal=self._box.seal(*_sealed(id, digest, (credential.id,))),
        )

    async def page(
        self, credential: Credential, status: Status | None, before: UUID | None, limit: int
    ) -> list[Proposal]:
        """Proposals, the newest first: all for those who may decide on them, else the principal's own.

        There are fewer than `limit` where these would have too many bytes, but always one if there is one.
        """
        own = None if may_review(credential) else credential.id
        return [Proposal(**row) for row in await self._pool.fetch(SELECT_PAGE, status, own, before, limit, PAGE_BYTES)]

    async def submissions(
        self, credential: Credential, status: Status, before: UUID | None, limit: int
    ) -> list[ListedSubmission]:
        """What was proposed together, the newest first: all for those who may decide, else the principal's own."""
        own = None if may_review(credential) else credential.id
        listed = await self._pool.fetch(SELECT_SUBMISSIONS, status, own, before, limit)
        rows = await self._pool.fetch(SELECT_LISTED, [row["first"] for row in listed], LISTED_BYTES)
        by_id = {row["id"]: Proposal(**row) for row in rows}
        return [ListedSubmission(by_id[row["first"]], row["proposals"]) for row in listed]

    async def get(self, credential: Credential, id: UUID) -> Proposal:
        """One proposal.

        Raises:
            NotFound: There is none, or it is another principal's and this one may not decide on it.
        """
        row = await self._pool.fetchrow(SELECT_ONE, id)
        return _visible(Proposal(**row) if row is not None else None, credential, id)

    async def submission(self, credential: Credential, submission: UUID) -> list[Proposal]:
        """What was proposed together, as far as the principal may see it, in the order in which it was proposed."""
        found = [Proposal(**row) for row in await self._pool.fetch(SELECT_SUBMISSION, submission)]
        return [one for one in found if _is_visible(one, credential)]

    async def change(
        self,
        credential: Credential,
        id: UUID,
        expected: bytes,
        announcements: Sequence[Announcement | OrganizationAnnouncement],
    ) -> Proposal:
        """Replace the announcements, and note that the principal has changed them.

        Raises:
            NotFound, Forbidden, ProposalDecided, ProposalChanged: Nothing was changed.
        """
        async with self._open(credential, {id: expected}) as (connection, [proposal]):
            await offload(len(announcements), _check_author, credential, proposal.kind, proposal.slug, announcements)
            return await self._replace(connection, credential, proposal, announcements, datetime.now(UTC))

    async def _replace(
        self,
        connection: Connection,
        credential: Credential,
        proposal: Proposal,
        announcements: Sequence[Announcement | OrganizationAnnouncement],
        now: datetime,
    ) -> Proposal:
        """Replace the announcements of a proposal; without a difference it stays as it is."""
        content = await offload(len(announcements), _with_ids, announcements, now)
        digest = await offload(len(announcements), _digest, proposal.kind, proposal.slug, content)
        if digest == proposal.digest:
            return proposal
        changed = replace(
            proposal,
            announcements=content,
            digest=digest,
            changed_by=(*proposal.changed_by, credential.id),
            changed_at=(*proposal.changed_at, now),
        )
        changed = replace(changed, seal=self._box.seal(*_sealed_content(changed)))
        row = changed.id, content, digest, changed.changed_by, changed.changed_at, changed.seal
        await connection.execute(UPDATE_CONTENT, *row)
        return changed

    async def approve(self, credential: Credential, id: UUID, expected: bytes) -> tuple[Proposal, AppendResult]:
        """Record the announcements whose digest is `expected`.

        Raises:
            NotFound, ProposalDecided, ProposalChanged, ProposalForged: Nothing was recorded.
            Forbidden: The principal lacks the scope, or it has written some of it and a second one is needed.
            RuleBroken: The deal or organization has changed, so that they no longer apply.
        """
        [decided], [result] = await self.approve_all(credential, {id: expected})
        return decided, result

    async def approve_all(
        self, credential: Credential, expected: Mapping[UUID, bytes]
    ) -> tuple[list[Proposal], list[AppendResult]]:
        """Record the announcements of several proposals, each with its expected digest: all of them or none.

        Raises:
            NotFound, ProposalDecided, ProposalChanged, ProposalForged, Forbidden, RuleBroken: As for `approve`.
            SubmissionError: One of several is refused.
        """
        async with self._open(credential, expected) as (connection, proposals):
            requests = []
            for proposal in proposals:
                self._check_seal(proposal)
                requests.append(
                    AppendRequest(
                        kind=proposal.kind,
                        slug=proposal.slug,
                        announcements=await proposal.read(),
                        by=proposal.proposed_by,
                        credential=credential,
                        approved_by=credential.id if credential.id != proposal.proposed_by else None,
                        has_second_principal=credential.id not in proposal.writers,
                        size=len(proposal.announcements or b""),
                    )
                )
            try:
                results = await self._recorder.record_all(requests)
            except ApprovalRequired:
                raise Forbidden("own_proposal") from None
            except SubmissionError as error:
                if isinstance(error.error, ApprovalRequired):
                    raise SubmissionError(error.number, Forbidden("own_proposal")) from None
                raise
            now = datetime.now(UTC)
            decided = [
                replace(
                    proposal,
                    status="approved",
                    decided_by=credential.id,
                    decided_at=now,
                    position=result.position,
                    announcements=None,
                )
                for proposal, result in zip(proposals, results, strict=True)
            ]
            await connection.executemany(
                UPDATE_DECISION, [(one.id, "approved", credential.id, now, None, one.position) for one in decided]
            )
        return decided, results

    async def reject(self, credential: Credential, id: UUID, expected: bytes, reason: str | None) -> Proposal:
        """Reject the announcements whose digest is `expected`; the proposer withdraws its own this way.

        Raises:
            NotFound, ProposalDecided, ProposalChanged: Nothing was changed.
        """
        return (await self.reject_all(credential, {id: expected}, reason))[0]

    async def reject_all(
        self, credential: Credential, expected: Mapping[UUID, bytes], reason: str | None
    ) -> list[Proposal]:
        """Reject several proposals, each with its expected digest: all of them or none.

        Raises:
            NotFound, ProposalDecided, ProposalChanged: Nothing was changed.
        """
        async with self._open(credential, expected) as (connection, proposals):
            now = datetime.now(UTC)
            await connection.executemany(
                UPDATE_DECISION, [(one.id, "rejected", credential.id, now, reason, None) for one in proposals]
            )
        return [
            replace(one, status="rejected", decided_by=credential.id, decided_at=now, reason=reason, announcements=None)
            for one in proposals
        ]

    async def revise(
        self,
        credential: Credential,
        expected: Mapping[UUID, bytes],
        wanted: Sequence[ProposedPart],
        reason: str | None,
    ) -> list[Proposal]:
        """Replace what was proposed together: the announcements of each deal and organization.

        Notes that the principal has changed the proposals that differ, rejects those that are no longer wanted for the
        given reason, and adds new ones to the submission.

        Args:
            credential: Who changes the proposals.
            expected: Open proposals of one submission, each with its digest.
            wanted: The announcements that are proposed from now on.
            reason: Why proposals that are no longer wanted are rejected.

        Raises:
            NotFound, Forbidden, ProposalDecided, ProposalChanged: Nothing was changed.
        """
        await offload(sum(len(part[2]) for part in wanted), _check_authors, credential, wanted)
        now = datetime.now(UTC)
        async with self._open(credential, expected) as (connection, proposals):
            left = {(one.kind, one.slug): one for one in proposals}
            revised = []
            for number, part in enumerate(wanted):
                known = left.pop(part[:2], None)
                if known is not None:
                    revised.append(await self._replace(connection, credential, known, part[2], now))
                    continue
                id = uuid7(now + timedelta(milliseconds=number))
                made = await offload(len(part[2]), self._proposal, credential, proposals[0].submission, now, id, part)
                await connection.execute(INSERT, *_row(made))
                revised.append(made)
            for one in left.values():
                await connection.execute(UPDATE_DECISION, one.id, "rejected", credential.id, now, reason, None)
        return revised

    async def preview(self, credential: Credential, proposal: Proposal) -> AppendResult:
        """What recording the announcements now would change.

        Raises:
            RuleBroken: They no longer apply.
        """
        return await self._recorder.record(
            AppendRequest(
                kind=proposal.kind,
                slug=proposal.slug,
                announcements=await proposal.read(),
                by=proposal.proposed_by,
                dry_run=True,
            )
        )

    def needs_another(self, credential: Credential, proposal: Proposal) -> bool:
        """Whether the principal has written a part of what a second principal must approve.

        It decodes the announcements: for long or many proposals, in a thread.
        """
        if credential.id not in proposal.writers or not self._recorder.four_eyes:
            return False
        return any(tag_of(announcement.event) in self._recorder.four_eyes for announcement in proposal.decoded())

    def _check_seal(self, proposal: Proposal) -> None:
        """Check that the proposer and those who changed it have written this content for this stream.

        Raises:
            ProposalForged: The row was changed in the database.
        """
        content = proposal.announcements or b""
        is_same = _digest(proposal.kind, proposal.slug, content) == proposal.digest
        if not (is_same and self._box.verify(proposal.seal, *_sealed_content(proposal))):
            log.error("a proposal was changed in the database", proposal=str(proposal.id))
            raise ProposalForged(proposal=str(proposal.id))

    @asynccontextmanager
    async def _open(
        self, credential: Credential, expected: Mapping[UUID, bytes]
    ) -> AsyncIterator[tuple[Connection, list[Proposal]]]:
        """Open proposals, each with the expected digest, locked until the end of the block, in the order given.

        The rows are locked in the order of their ids, so that two reviewers cannot wait for each other.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            rows = {row["id"]: Proposal(**row) for row in await connection.fetch(SELECT_FOR_UPDATE, list(expected))}
            proposals = []
            for id, digest in expected.items():
                proposal = _visible(rows.get(id), credential, id)
                if proposal.status != "open":
                    raise ProposalDecided(proposal.status, proposal=str(id))
                if proposal.digest != digest:
                    raise ProposalChanged(proposal=str(id))
                proposals.append(proposal)
            yield connection, proposals


def digest_of_all(proposals: Sequence[Proposal]) -> bytes:
    """SHA-256 of the ids and the content of proposals: a decision on many of them names this instead of each digest."""
    return hashlib.sha256(b"".join(one.id.bytes + one.digest for one in proposals)).digest()


def parts_of(
    announced: Iterable[tuple[AnnouncedKind, str, Announcement | OrganizationAnnouncement]],
) -> list[ProposedPart]:
    """The announcements of import lines by deal and organization, in their order."""
    parts: dict[tuple[AnnouncedKind, str], list[Announcement | OrganizationAnnouncement]] = {}
    for kind, slug, line in announced:
        # A line has the slug too, which an announcement has not.
        plain: Any = Announcement if kind == "deal" else OrganizationAnnouncement
        announcement = plain(**{name: getattr(line, name) for name in plain.__struct_fields__})
        parts.setdefault((kind, slug), []).append(announcement)
    return [(kind, slug, announcements) for (kind, slug), announcements in parts.items()]


def _visible(proposal: Proposal | None, credential: Credential, id: UUID) -> Proposal:
    if proposal is None or not _is_visible(proposal, credential):
        raise NotFound("proposal", proposal=str(id))
    return proposal


def _is_visible(proposal: Proposal, credential: Credential) -> bool:
    return may_review(credential) or credential.id in proposal.writers


def _check_author(
    credential: Credential,
    kind: AnnouncedKind,
    slug: str,
    announcements: Sequence[Announcement | OrganizationAnnouncement],
) -> None:
    """Check that a principal may propose announcements: with the scope `propose`, or with those to record them."""
    if not credential.rights.includes_stream(kind, slug):
        raise Forbidden("stream", stream=f"{kind}/{slug}")
    for announcement in announcements:
        if not (credential.allows("propose") or credential.allows(required_scope(announcement.event))):
            raise Forbidden.scope(credential.scopes, "propose")
        if not credential.rights.includes_sources(announcement):
            raise Forbidden("source", sources=credential.rights.sources)


def _check_authors(credential: Credential, proposed: Iterable[ProposedPart]) -> None:
    for kind, slug, announcements in proposed:
        _check_author(credential, kind, slug, announcements)


def _row(proposal: Proposal) -> tuple[Any, ...]:
    """The values of `INSERT`."""
    own = proposal.kind, proposal.slug, proposal.announcements, proposal.digest
    return proposal.id, proposal.submission, *own, proposal.proposed_by, proposal.proposed_at, proposal.seal


def _with_ids(announcements: Sequence[Announcement | OrganizationAnnouncement], now: datetime) -> bytes:
    """The announcements as canonical JSON, each with an id."""
    # One by one, because no other thread runs during a call of the encoder.
    encoded = (canonical(a if a.id is not None else replace(a, id=uuid7(now))) for a in announcements)
    return b"[" + b",".join(encoded) + b"]"


def _digest(kind: AnnouncedKind, slug: str, content: bytes) -> bytes:
    return hashlib.sha256(canonical({"kind": kind, "slug": slug}) + content).digest()


def _sealed(id: UUID, digest: bytes, writers: Sequence[str]) -> tuple[str, ...]:
    return "proposal", str(id), digest.hex(), *writers


def _sealed_content(proposal: Proposal) -> tuple[str, ...]:
    return _sealed(proposal.id, proposal.digest, (proposal.proposed_by, *proposal.changed_by))
