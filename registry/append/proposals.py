"""Proposals: announcements that wait for another principal, in a table and not in the log.

An approval names the digest of what it approves, so a change in the meantime is not approved. The approved
announcements are recorded as those of the principal who proposed them, with the approver beside it; their ids were
given when they were proposed, so an approval that is repeated after a lost answer records nothing twice. The content is
deleted with the decision: what was approved is in the log, where it can be redacted. The row stays and names those who
changed the proposal; none of them can be the second principal that `REGISTRY_FOUR_EYES` requires.

A seal under a key outside the database binds the proposer and those who changed the proposal to the content. So the
password of the application's role is not enough to have something approved as another's, to exchange what the reviewer
has read, or to hide that the reviewer has written a part.

A proposal is in `proposal.py`, its table in `proposal_store.py`, and every decision about one in this file; hence its
length.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from msgspec.structs import replace

from registry.append import proposal_store
from registry.append.proposal import (
    ListedSubmission,
    Proposal,
    ProposedImport,
    ProposedPart,
    Status,
    check_author,
    check_authors,
    digest_of,
    may_review,
    seal_parts,
    with_ids,
)
from registry.append.proposal_store import Visible
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult, SubmissionError
from registry.append.seal import uuid7
from registry.domain.principal import Credential
from registry.errors import (
    ApprovalRequired,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    ProposalChanged,
    ProposalDecided,
    ProposalForged,
)
from registry.events import store
from registry.events.types import AnnouncedKind, Announcement, OrganizationAnnouncement, tag_of
from registry.infra.postgres import Connection, Pool
from registry.infra.secret_box import SecretBox
from registry.infra.threads import offload

log = structlog.get_logger(__name__)


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
            Invalid: The principal has too many open proposals.
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
            Invalid: The principal has too many open proposals; nothing was added.
        """
        size = sum(len(announcements) for _, _, announcements in proposed)
        await offload(size, check_authors, credential, proposed)
        now = datetime.now(UTC)
        if submission is not None and not await proposal_store.is_own(self._pool, submission, credential.id):
            raise NotFound("proposal", proposal=str(submission))
        together = submission or uuid7(now)
        # A millisecond apart, so that the ids have the order in which the announcements were proposed.
        ids = [uuid7(now + timedelta(milliseconds=number)) for number in range(len(proposed))]
        made = await offload(
            size,
            lambda: [self._proposal(credential, together, now, *one) for one in zip(ids, proposed, strict=True)],
        )
        async with self._pool.acquire() as connection, connection.transaction():
            await _insert(connection, made)
        return made

    async def propose_import(
        self, credential: Credential, proposed: Sequence[ProposedPart], submission: UUID | None = None
    ) -> ProposedImport:
        """Add the announcements of an import, or of a piece of it, to the queue, as one submission.

        Leaves out announcements that are recorded, or wait with the same content, so a repeated import proposes nothing
        twice. Otherwise as `propose_all`.
        """
        # Also of those that are left out below: whether they are recorded is not for everyone to know.
        await offload(sum(len(part[2]) for part in proposed), check_authors, credential, proposed)
        ids = [one.id for _, _, announcements in proposed for one in announcements if one.id is not None]
        recorded = frozenset(await store.recorded_ids(self._pool, ids)) if ids else frozenset()
        new: list[ProposedPart] = []
        for kind, slug, announcements in proposed:
            left = [one for one in announcements if one.id not in recorded]
            if left:
                new.append((kind, slug, left))
        now = datetime.now(UTC)
        digests = await offload(
            len(ids), lambda: [digest_of(kind, slug, with_ids(announcements, now)) for kind, slug, announcements in new]
        )
        found = await proposal_store.waiting(self._pool, [slug for _, slug, _ in new], digests) if new else []
        waiting = [one for one in found if one.is_visible_to(credential)]
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
        content = with_ids(announcements, now)
        digest = digest_of(kind, slug, content)
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
            seal=self._box.seal(*seal_parts(id, digest, (credential.id,))),
        )

    async def page(
        self, credential: Credential, status: Status | None, before: UUID | None, limit: int
    ) -> list[Proposal]:
        """Proposals, the newest first: the principal's own, and those that it may decide on.

        There are fewer than `limit` where these would have too many bytes, but always one if there is one.
        """
        return await proposal_store.page(self._pool, status, _visible_to(credential), before, limit)

    async def submissions(
        self, credential: Credential, status: Status, before: UUID | None, limit: int
    ) -> list[ListedSubmission]:
        """What was proposed together, the newest first: the principal's own, and what it may decide on."""
        return await proposal_store.submissions(self._pool, status, _visible_to(credential), before, limit)

    async def get(self, credential: Credential, id: UUID) -> Proposal:
        """One proposal.

        Raises:
            NotFound: There is none, or it is another principal's and this one may not decide on it.
        """
        return _visible(await proposal_store.get(self._pool, id), credential, id)

    async def submission(self, credential: Credential, submission: UUID) -> list[Proposal]:
        """What was proposed together, as far as the principal may see it, in the order in which it was proposed."""
        found = await proposal_store.of_submission(self._pool, submission)
        return [one for one in found if one.is_visible_to(credential)]

    async def change(
        self,
        credential: Credential,
        id: UUID,
        expected: bytes,
        announcements: Sequence[Announcement | OrganizationAnnouncement],
    ) -> Proposal:
        """Replace the announcements, and note that the principal has changed them.

        Raises:
            NotFound, Forbidden, Invalid, ProposalDecided, ProposalChanged: Nothing was changed.
        """
        async with self._open(credential, {id: expected}) as (connection, [proposal]):
            await offload(len(announcements), check_author, credential, proposal.kind, proposal.slug, announcements)
            return await self._replace(connection, credential, proposal, announcements, datetime.now(UTC))

    async def _replace(
        self,
        connection: Connection,
        credential: Credential,
        proposal: Proposal,
        announcements: Sequence[Announcement | OrganizationAnnouncement],
        now: datetime,
    ) -> Proposal:
        """Replace the announcements of a proposal; without a difference it stays as it is.

        Raises:
            Invalid: It has been changed too often, or its proposer has too many open proposals.
        """
        content = await offload(len(announcements), with_ids, announcements, now)
        digest = await offload(len(announcements), digest_of, proposal.kind, proposal.slug, content)
        if digest == proposal.digest:
            return proposal
        if len(proposal.changed_by) >= proposal_store.MAX_CHANGES:
            raise Invalid([FieldError("", "too_many_changes", limit=proposal_store.MAX_CHANGES)])
        changed = replace(
            proposal,
            announcements=content,
            digest=digest,
            changed_by=(*proposal.changed_by, credential.id),
            changed_at=(*proposal.changed_at, now),
        )
        changed = replace(changed, seal=self._box.seal(*changed.sealed))
        await proposal_store.replace_content(connection, changed)
        if len(changed.announcements or b"") > len(proposal.announcements or b""):
            await _check_size(connection, changed.proposed_by)
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
            approved = _decided(proposals, "approved", credential, datetime.now(UTC), None)
            decided = [replace(one, position=result.position) for one, result in zip(approved, results, strict=True)]
            await proposal_store.decide(connection, decided)
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
            decided = _decided(proposals, "rejected", credential, datetime.now(UTC), reason)
            await proposal_store.decide(connection, decided)
        return decided

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
            NotFound, Forbidden, Invalid, ProposalDecided, ProposalChanged: Nothing was changed.
        """
        await offload(sum(len(part[2]) for part in wanted), check_authors, credential, wanted)
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
                await _insert(connection, [made])
                revised.append(made)
            unwanted = _decided(left.values(), "rejected", credential, now, reason)
            await proposal_store.decide(connection, unwanted)
        return revised

    async def preview(self, proposal: Proposal) -> AppendResult:
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
        is_same = digest_of(proposal.kind, proposal.slug, content) == proposal.digest
        if not (is_same and self._box.verify(proposal.seal, *proposal.sealed)):
            log.error("a proposal was changed in the database", proposal=str(proposal.id))
            raise ProposalForged(proposal=str(proposal.id))

    @asynccontextmanager
    async def _open(
        self, credential: Credential, expected: Mapping[UUID, bytes]
    ) -> AsyncIterator[tuple[Connection, list[Proposal]]]:
        """Open proposals, each with the expected digest, locked until the end of the block, in the order given."""
        async with self._pool.acquire() as connection, connection.transaction():
            locked = await proposal_store.lock(connection, expected)
            proposals = []
            for id, digest in expected.items():
                proposal = _visible(locked.get(id), credential, id)
                if proposal.status != "open":
                    raise ProposalDecided(proposal.status, proposal=str(id))
                if proposal.digest != digest:
                    raise ProposalChanged(proposal=str(id))
                if credential.rights.sources:
                    await offload(proposal.size, proposal.check_sources, credential)
                proposals.append(proposal)
            yield connection, proposals


def _visible_to(credential: Credential) -> Visible:
    rights = credential.rights
    if not may_review(credential):
        return Visible(credential.id)
    is_limited = rights.deals or rights.organizations
    return Visible(credential.id, rights.deals, rights.organizations) if is_limited else Visible(None)


def _visible(proposal: Proposal | None, credential: Credential, id: UUID) -> Proposal:
    if proposal is None or not proposal.is_visible_to(credential):
        raise NotFound("proposal", proposal=str(id))
    return proposal


def _decided(
    proposals: Iterable[Proposal], status: Status, credential: Credential, now: datetime, reason: str | None
) -> list[Proposal]:
    """Proposals as they are after a decision."""
    return [
        replace(one, status=status, decided_by=credential.id, decided_at=now, reason=reason, announcements=None)
        for one in proposals
    ]


async def _insert(connection: Connection, made: Sequence[Proposal]) -> None:
    await proposal_store.insert(connection, made)
    await _check_size(connection, made[0].proposed_by)


async def _check_size(connection: Connection, principal: str) -> None:
    if await proposal_store.has_too_many(connection, principal):
        limits = {"limit": proposal_store.MAX_OPEN, "megabytes": proposal_store.MAX_OPEN_BYTES // 2**20}
        raise Invalid([FieldError("", "too_many_proposals", **limits)])
