"""Every error the registry raises on purpose.

The docstring of an error is its message: `str(error)` fills it from the keyword arguments it was raised with. What
HTTP status an error becomes stands in one table, `api/problems.py`; nothing here knows about HTTP.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from registry.i18n import Message


class RegistryError(Exception):
    """Something went wrong in the registry."""

    code: ClassVar[str] = "failed"

    def __init__(self, **facts: Any) -> None:
        super().__init__()
        self.facts = facts

    def __str__(self) -> str:
        return " ".join(inspect.cleandoc(self.__doc__ or "").split()).format_map(self.facts)


class FieldError(RegistryError):
    """{detail}"""

    # One wrong field of a request: a JSON pointer (RFC 6901) into the body, and what is wrong there.

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(pointer=pointer, detail=detail)
        self.pointer = pointer
        self.detail = detail


class NotJson(RegistryError):
    """The body is not JSON: {reason}"""

    code = "not_json"


class Invalid(RegistryError):
    """The request has a wrong shape or value: {summary}"""

    code = "invalid"

    def __init__(self, faults: list[FieldError]) -> None:
        first = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(summary=f"{first.pointer or '/'}: {first.detail}{more}")
        self.faults = faults


class InvalidParameter(RegistryError):
    """The parameter '{parameter}' cannot be used: {reason}"""

    code = "bad_query"


class RuleBroken(RegistryError):
    """{refusal}"""

    code = "rule_broken"

    # A new event that the stream's history rejects. `events` are the recorded events that would become unapplied.

    def __init__(self, refusal: Message, events: tuple[str, ...] = ()) -> None:
        super().__init__(refusal=refusal)
        self.refusal = refusal
        self.events = events


class VersionConflict(RegistryError):
    """The {kind} '{slug}' {found}."""

    code = "version_conflict"

    # A stream at another version than was demanded; `actual` is 0 where there is none.

    def __init__(self, kind: str, slug: str, actual: int, expected: int | None) -> None:
        found = f"is at version {actual}, not {expected}. Read it again, then decide whether your change still holds"
        if not actual:
            found = "does not exist: check its name, or register it first"
        super().__init__(kind=kind, slug=slug, actual=actual, expected=expected, found=found)


class IdempotencyConflict(RegistryError):
    """The Idempotency-Key '{key}' was used before with another request: use a new key for a new request."""

    code = "idempotency_conflict"


class IdConflict(RegistryError):
    """The id {id} belongs to another event ({stream}, version {version}): give another id, or none."""

    code = "id_conflict"


class NotFound(RegistryError):
    """{detail}"""

    code = "not_found"

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail=detail, **facts)


class MergedInto(RegistryError):
    """The deal '{deal}' was merged into '{into}'."""


class Overloaded(RegistryError):
    """The registry has more to record than it can take now: try again in a second."""

    code = "overloaded"


class DatabaseUnavailable(RegistryError):
    """The registry's database does not answer: try again in a few seconds."""

    code = "database_lost"


class Unauthorized(RegistryError):
    """{detail}"""

    code = "unauthorized"

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class Forbidden(RegistryError):
    """This key may {has}; '{needs}' is needed for that."""

    code = "forbidden"


class TooLarge(RegistryError):
    """The body is larger than {limit} bytes: send it in parts."""

    code = "too_large"


class IncompleteBody(RegistryError):
    """The connection ended before the body was complete: send it again."""

    code = "incomplete"


class BodyTimeout(RegistryError):
    """The body did not arrive within {seconds} seconds: send it in smaller parts."""

    code = "too_slow"


class UnsupportedMediaType(RegistryError):
    """The Content-Type '{given}' cannot be read here: send {expected}."""

    code = "unsupported_media_type"


class UnknownEventType(RegistryError):
    """The stored event {position} has the unknown type '{type}', schema {schema}.

    This registry is older than its database.
    """


class LogCorrupt(RegistryError):
    """The log is not what it was: {detail}"""


class EvidenceUnavailable(RegistryError):
    """No checkpoint can be signed now, and the operator's log says why: try again later."""

    code = "evidence_unavailable"


class BadSetting(RegistryError):
    """{setting}: {reason}"""

    # A setting the registry cannot start with. `setting` names the environment's variable and the flag.


class UnreadableSheet(RegistryError):
    """{file} cannot be read as a spreadsheet: {why}"""


class BadMapping(RegistryError):
    """The mapping cannot be used: {reason}"""


class PostgresUnavailable(RegistryError):
    """The registry's own Postgres cannot run: {reason}"""


class PostgresTooOld(RegistryError):
    """The database is Postgres {found}: the registry needs {oldest} or newer."""


class MigrationFailed(RegistryError):
    """The database's schema could not be brought up to date: {reason}"""


class RedactionUnavailable(RegistryError):
    """Redaction needs the database's owner: start the service with REGISTRY_OWNER_URL."""

    code = "redaction_unavailable"


class NotAcceptable(RegistryError):
    """{detail}"""

    code = "not_acceptable"

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class DatabaseUnusable(RegistryError):
    """The registry cannot start on its database: {reason}"""
