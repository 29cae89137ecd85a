"""The recorder's requests and results."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from registry.domain.checks.plausibility import Flag
from registry.domain.principal import Credential
from registry.errors import RegistryError
from registry.events.codec import stream_name
from registry.events.types import AnyAnnouncement, EventRedacted, StreamKind
from registry.schemas import Receipt

# `expected_version` of a request with `If-Match: *`: the stream must exist, at any version.
ANY_VERSION = -1


class AppendRequest(Struct, frozen=True, kw_only=True, gc=False):
    """Announcements for one stream; either all are recorded or none.

    Attributes:
        by: The principal that the events are recorded by.
        credential: Whose rights the request needs; None for the registry's own acts. They are checked again when the
            request is validated, at its place in the log, so a key that was revoked before it records nothing.
        approved_by: The principal who approved the announcements, where it is not the one who proposed them.
        has_second_principal: Whether the approver has written none of the announcements.
        expected_version: The version that `If-Match` demands; 0 for `If-None-Match: *`, ANY_VERSION for `If-Match: *`.
        digest: SHA-256 of the request, compared when its idempotency key is used again.
        size: Size of the request's body, in bytes.
        low_priority: Whether the request is a line of an import: other requests go first, and the result carries no
            response body.
        shows_state: Whether the principal may read: else the result has no changes and no warnings, which show what was
            recorded before.
    """

    kind: StreamKind
    slug: str
    announcements: Sequence[AnyAnnouncement]
    by: str
    credential: Credential | None = None
    approved_by: str | None = None
    has_second_principal: bool = False
    expected_version: int | None = None
    idempotency_key: str | None = None
    digest: bytes = b""
    dry_run: bool = False
    size: int = 0
    low_priority: bool = False
    shows_state: bool = True

    @property
    def stream(self) -> str:
        return stream_name(self.kind, self.slug)

    def matches_version(self, version: int) -> bool:
        """Whether a stream at this version satisfies the request's precondition."""
        if self.expected_version == ANY_VERSION:
            return version > 0
        return self.expected_version is None or self.expected_version == version


class AppendResult(Struct, frozen=True, gc=False):
    """What a request recorded.

    `response` is the answer's JSON, empty for a low-priority request. `new` is False for a replay and for a dry run.
    """

    version: int
    position: int
    events: Sequence[Receipt]
    flags: Sequence[Flag]
    response: bytes
    new: bool


class SubmissionError(RegistryError):
    """One request of a submission is refused, and so is the whole submission."""

    code = "submission"

    def __init__(self, number: int, error: RegistryError) -> None:
        """Keep which request was refused (`number`, from 0) and why (`error`)."""
        super().__init__(number=number, problem=error.message)
        self.number = number
        self.error = error


class Submission(Struct):
    """Requests that are recorded together or not at all; usually one. The other fields are derived from them."""

    requests: Sequence[AppendRequest]
    dry_run: bool = False
    events: int = 0
    size: int = 0
    low_priority: bool = True
    has_redaction: bool = False
    has_retry_key: bool = False
    writes_nothing: bool = False

    def __post_init__(self) -> None:
        self.writes_nothing = True
        # One loop: a generator for each field takes three times as long for the usual single announcement.
        for request in self.requests:
            self.events += len(request.announcements)
            self.size += request.size
            self.low_priority &= request.low_priority
            self.has_retry_key |= request.idempotency_key is not None
            self.writes_nothing &= self.dry_run or request.dry_run
            for announcement in request.announcements:
                self.has_redaction |= type(announcement.event) is EventRedacted
                self.has_retry_key |= announcement.id is not None


def count_events(submissions: Sequence[Submission]) -> int:
    """The number of events of all submissions together."""
    return sum(submission.events for submission in submissions)
