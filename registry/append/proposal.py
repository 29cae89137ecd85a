"""One proposal: announcements for one stream that wait for a decision, and what their digest and seal are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.append.seal import uuid7
from registry.domain.principal import Credential, required_scope
from registry.errors import Forbidden
from registry.events import intake
from registry.events.codec import canonical
from registry.events.types import AnnouncedKind, Announcement, OrganizationAnnouncement
from registry.infra.threads import offload

Status = Literal["open", "approved", "rejected"]

ProposedPart: TypeAlias = tuple[AnnouncedKind, str, Sequence[Announcement | OrganizationAnnouncement]]
"""Announcements for one stream: its kind, its slug, and the announcements."""

SHORT_ANNOUNCEMENT_BYTES = 200


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
        """The announcements, decoded in a thread if they are many."""
        return await offload(self.size, self.decoded)

    def is_visible_to(self, credential: Credential) -> bool:
        """Whether a principal sees the proposal: one that reviews those of its stream, or has written a part of it."""
        may_decide = may_review(credential) and credential.rights.includes_stream(self.kind, self.slug)
        return may_decide or credential.id in self.writers

    def check_sources(self, credential: Credential) -> None:
        """Check that a principal may decide on sources of others that the announcements cite.

        Raises:
            Forbidden: It may cite other publishers only.
        """
        if credential.id not in self.writers and not all(map(credential.rights.includes_sources, self.decoded())):
            raise Forbidden("source", sources=credential.rights.sources)

    @property
    def sealed(self) -> tuple[str, ...]:
        """What the seal is made of: the content, the proposer and those who changed it."""
        return seal_parts(self.id, self.digest, (self.proposed_by, *self.changed_by))

    @property
    def size(self) -> int:
        """About how many announcements these are, or would be if they were short."""
        return len(self.announcements or b"") // SHORT_ANNOUNCEMENT_BYTES


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


def may_review(credential: Credential) -> bool:
    """Whether a principal sees proposals of others and decides on them: it has a scope that records something."""
    return any(credential.allows(scope) for scope in ("record", "correct", "redact"))


def with_ids(announcements: Sequence[Announcement | OrganizationAnnouncement], now: datetime) -> bytes:
    """The announcements as canonical JSON, each with an id."""
    # One by one, because no other thread runs during a call of the encoder.
    encoded = (canonical(a if a.id is not None else replace(a, id=uuid7(now))) for a in announcements)
    return b"[" + b",".join(encoded) + b"]"


def digest_of(kind: AnnouncedKind, slug: str, content: bytes) -> bytes:
    """SHA-256 of a stream and of announcements for it."""
    return hashlib.sha256(canonical({"kind": kind, "slug": slug}) + content).digest()


def seal_parts(id: UUID, digest: bytes, writers: Sequence[str]) -> tuple[str, ...]:
    """What the seal of a proposal is made of: its digest, and the principals who have written it."""
    return "proposal", str(id), digest.hex(), *writers


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


def check_author(
    credential: Credential,
    kind: AnnouncedKind,
    slug: str,
    announcements: Sequence[Announcement | OrganizationAnnouncement],
) -> None:
    """Check that a principal may propose announcements: with the scope `propose`, or with those to record them.

    Raises:
        Forbidden: It may not.
    """
    if not credential.rights.includes_stream(kind, slug):
        raise Forbidden("stream", stream=f"{kind}/{slug}")
    for announcement in announcements:
        if not (credential.allows("propose") or credential.allows(required_scope(announcement.event))):
            raise Forbidden.scope(credential.scopes, "propose")
        if not credential.rights.includes_sources(announcement):
            raise Forbidden("source", sources=credential.rights.sources)


def check_authors(credential: Credential, proposed: Iterable[ProposedPart]) -> None:
    """Check that a principal may propose announcements for several streams."""
    for kind, slug, announcements in proposed:
        check_author(credential, kind, slug, announcements)
