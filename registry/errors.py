"""Errors that the registry raises.

An error is a code with parameters. Its text stands in the catalogues of `registry/i18n` under the context "error":
`str(error)` renders it in English, pages and problem documents render it in the reader's language. A class whose texts
differ by the occasion names the occasion first: `NotFound("deal", deal="x")` has the text `not_found/deal`.
`http/problems.py` maps codes to HTTP statuses; nothing here knows about HTTP.
All errors are in this file, so that they can be read as one list; hence its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from registry.i18n import Message, Parameter, render, wait


class ErrorMessage(Message):
    """The text of an error."""

    context = "error"


class HealthWarning(Message):
    """What an operator should know although the service works."""

    context = "health"


class FieldError(Message):
    """One wrong field of a request: its JSON pointer (RFC 6901) in the body, and what is wrong with the value."""

    __slots__ = ("pointer",)
    context = "field"

    def __init__(self, pointer: str, code: str, /, **params: Parameter) -> None:
        super().__init__(code, **params)
        self.pointer = pointer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldError) and self.pointer == other.pointer and super().__eq__(other)

    __hash__ = Message.__hash__

    @property
    def detail(self) -> str:
        """The text in English."""
        return render(self)

    def at(self, pointer: str) -> FieldError:
        """The same error at another place."""
        return FieldError(pointer, self.code, **self.params)


class RegistryError(Exception):
    """Base class.

    Args:
        case: Which of the class's texts applies, where it has several.
        params: What the text, and the problem document's `params`, have in them.
    """

    code: ClassVar[str] = "failed"

    def __init__(self, case: str | None = None, /, **params: Parameter) -> None:
        super().__init__()
        self.case = case
        self.params = params
        self.message: Message = ErrorMessage(f"{self.code}/{case}" if case else self.code, **params)

    def __str__(self) -> str:
        return render(self.message)


# --- requests ---------------------------------------------------------------------------------------------------------


class NotJson(RegistryError):
    """The body is not JSON; `field_error` has the place where decoding ended."""

    code = "not_json"

    def __init__(self, field_error: FieldError, line: int | None = None) -> None:
        if line is None:
            super().__init__(problem=field_error)
        else:
            super().__init__("line", problem=field_error, line=line)
        self.field_error = field_error


class Invalid(RegistryError):
    """The body is JSON, but has wrong fields."""

    code = "invalid"

    def __init__(self, field_errors: list[FieldError]) -> None:
        first = field_errors[0]
        if len(field_errors) == 1:
            super().__init__(pointer=first.pointer or "/", problem=first)
        else:
            super().__init__("several", pointer=first.pointer or "/", problem=first, more=len(field_errors) - 1)
        self.field_errors = field_errors


class InvalidParameter(RegistryError):
    """A query parameter, or a header that works like one, is unknown or has an unusable value.

    A parser that does not know the parameter's name leaves it out; its caller adds it with `of`.
    """

    code = "bad_query"

    def of(self, parameter: str) -> Self:
        """The same error of a named parameter."""
        return type(self)(self.case, **{**self.params, "parameter": parameter})


class InvalidPath(InvalidParameter):
    """A name or an id in the path of a request that writes is malformed."""

    code = "invalid"

    def __init__(self, wrong: InvalidParameter) -> None:
        super().__init__(wrong.case, **wrong.params)
        self.message = wrong.message


class Unauthorized(RegistryError):
    """There is no API key or access token, or one that is not valid; or signing in failed."""

    code = "unauthorized"


class Forbidden(RegistryError):
    """The API key lacks a scope, or is limited to other streams or sources."""

    code = "forbidden"

    @classmethod
    def scope(cls, scopes: Iterable[str], needs: str) -> Forbidden:
        """The error of a key that has `scopes` and lacks the scope `needs`."""
        has = tuple(sorted(scopes))
        return cls(None if has else "no_scope", has=has, needs=needs)


class ApprovalRequired(RegistryError):
    """The registry records this type of event only after a second principal has approved it."""

    code = "approval_required"


class ProposalForged(RegistryError):
    """The proposal's row was changed by something else than a service with the key file, so it cannot be approved."""

    code = "proposal_forged"


class ProposalDecided(RegistryError):
    """The proposal was approved or rejected before. Its code says which."""

    code = "proposal_decided"


class ProposalChanged(RegistryError):
    """The proposal has other content than the decision names."""

    code = "proposal_changed"


class NotFound(RegistryError):
    """What the request names does not exist, or was not known at the point in time asked for."""

    code = "not_found"


class NotYetEffective(NotFound):
    """Everything known of the deal at that point takes effect later; `link` leads to the deal on the first such day."""

    code = "not_yet_effective"


class MergedInto(RegistryError):
    """The stream that the request names is a duplicate that was merged into another."""

    code = "merged"


class TooLarge(RegistryError):
    """The body is over the limit, in bytes."""

    code = "too_large"


class IncompleteBody(RegistryError):
    """The connection ended before the whole body arrived."""

    code = "incomplete"


class BadRequest(RegistryError):
    """The request is not valid HTTP."""

    code = "bad_request"


class HeadersTooLarge(RegistryError):
    """The request line and the header are over the limit, in bytes or in fields."""

    code = "headers_too_large"


class QueryTooLong(RegistryError):
    """A read takes longer than it may."""

    code = "query_too_long"


class RateLimited(RegistryError):
    """The client sent too many requests, or tried too many wrong keys; it may go on after `seconds`."""

    code = "rate_limited"

    def __init__(self, case: str, /, *, seconds: int, **params: Parameter) -> None:
        super().__init__(case, seconds=seconds, **params)
        self.message = ErrorMessage(f"{self.code}/{case}", wait=wait(seconds), **params)


class BodyTimeout(RegistryError):
    """The body, or the header, did not arrive in time."""

    code = "too_slow"


class UnsupportedMediaType(RegistryError):
    """The body's Content-Type or Content-Encoding is not supported."""

    code = "unsupported_media_type"


# --- appending --------------------------------------------------------------------------------------------------------


class RuleBroken(RegistryError):
    """A domain rule rejects the event. `events` are the ids of later events that would no longer apply."""

    code = "rule_broken"

    def __init__(self, refusal: Message, events: tuple[str, ...] = ()) -> None:
        super().__init__(**refusal.params)
        self.message = self.refusal = refusal
        self.events = events


class VersionConflict(RegistryError):
    """The stream is not at the expected version. `actual` is 0 for a stream that does not exist."""

    code = "version_conflict"

    def __init__(self, kind: str, slug: str, actual: int, expected: int | None) -> None:
        case = "missing" if actual == 0 else "exists" if expected == 0 else None
        known = {} if expected is None else {"expected": expected}
        super().__init__(case, kind=kind, slug=slug, actual=actual, **known)


class IdempotencyConflict(RegistryError):
    """The Idempotency-Key was used with another request."""

    code = "idempotency_conflict"


class IdConflict(RegistryError):
    """The event id belongs to an event with other content."""

    code = "id_conflict"


class Overloaded(RegistryError):
    """The write queue is full, all connections, files or memory are in use, or the service stops."""

    code = "overloaded"


class ClockUnsafe(RegistryError):
    """The service's clock cannot be trusted, so nothing is recorded. Durations are in seconds."""

    code = "clock_unsafe"


class RedactionUnavailable(RegistryError):
    """Redaction needs the role that owns the tables, and none is configured."""

    code = "redaction_unavailable"


class StorageUnavailable(RegistryError):
    """The database, or the service, cannot write to its disk: it is full, read-only, or not the user's."""

    code = "storage_unavailable"


class ProviderUnavailable(RegistryError):
    """The OpenID provider does not answer, or not as one does."""

    code = "provider_unavailable"


class SecretUnreadable(RegistryError):
    """A stored secret cannot be encrypted or decrypted: the key file is missing, unreadable, or not the right one."""

    code = "secret_unreadable"


# --- the log ----------------------------------------------------------------------------------------------------------


class UnknownEventType(RegistryError):
    """A stored event has a type or schema version that this release does not know."""

    code = "unknown_event_type"


class LogCorrupt(RegistryError):
    """The log, or a bundle, does not verify."""

    code = "log_corrupt"


class LogRewound(RegistryError):
    """The log lacks an event that was acknowledged or signed. An operator decides what to do."""

    code = "log_rewound"


class ReadOnlyMirror(RegistryError):
    """This registry is a mirror: it has no keys of its own, and records nothing."""

    code = "read_only_mirror"


class EvidenceUnavailable(RegistryError):
    """The signer cannot sign a checkpoint now."""

    code = "evidence_unavailable"


class PortfolioUnavailable(RegistryError):
    """The columnar copy that answers questions about all deals is being made, or its index of texts."""

    code = "portfolio_unavailable"


# --- the database and its schema --------------------------------------------------------------------------------------


class DatabaseUnavailable(RegistryError):
    """The connection to Postgres is lost."""

    code = "database_lost"


class DatabaseUnusable(RegistryError):
    """The service cannot start on the database."""

    code = "database_unusable"


class PostgresUnavailable(RegistryError):
    """The bundled Postgres cannot run."""

    code = "postgres_unavailable"


class PostgresTooOld(RegistryError):
    """The Postgres server is older than the oldest supported release."""

    code = "postgres_too_old"


class MigrationFailed(RegistryError):
    """The schema could not be migrated."""

    code = "migration_failed"


# --- settings and files -----------------------------------------------------------------------------------------------


class BadSetting(RegistryError):
    """A setting has an unusable value. `setting` names its environment variable and its flag."""

    code = "bad_setting"


class UnreadableRates(RegistryError):
    """A file of exchange rates cannot be read, or has a wrong row; nothing of it is recorded."""

    code = "unreadable_rates"


class UnreadableSheet(RegistryError):
    """A file cannot be read as a workbook."""

    code = "unreadable_sheet"


class BadMapping(RegistryError):
    """An import mapping cannot be used."""

    code = "bad_mapping"
