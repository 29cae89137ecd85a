"""What every handler needs of a request: who asks, what is asked, under which conditions.

Strict: what is not known is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, TypeAlias, TypeVar

from litestar import Request as LitestarRequest
from litestar import Response

from registry.domain.history import Clocks
from registry.errors import BadQuery, Fault, Forbidden, Invalid, TooLarge, Unauthorized, UnsupportedMediaType
from registry.keys import Key, Scope

Request: TypeAlias = LitestarRequest[Any, Any, Any]
T = TypeVar("T")

# A request's body may have this many bytes; up to four times as many are read and thrown away, so that whoever sends
# too much gets the answer instead of a reset connection.
BODY_LIMIT = 8 * 2**20

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_ETAG = re.compile(r'\s*(?:W/)?"(\d{1,9})(?:;[^"]*)?"\s*\Z')


# --- who --------------------------------------------------------------------------------------------------------------


async def authorize(request: Request, scope: Scope) -> Key:
    """The key that asks. Raises Unauthorized without one, and Forbidden when it lacks the scope."""
    key = await identify(request)
    if key is None:
        raise Unauthorized("This needs a key: send 'Authorization: Bearer KEY' (make one with 'registry keys create').")
    allow(key, scope)
    return key


async def identify(request: Request) -> Key | None:
    """The key that asks, or None when there is none. Raises Unauthorized for one that is not known."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Unauthorized("The Authorization header is not understood: send 'Authorization: Bearer KEY'.")
    key = await request.app.state.registry.keys.find(token.strip())
    if key is None:
        raise Unauthorized("This key is not known, or it was revoked.")
    return key  # type: ignore[no-any-return]


def allow(key: Key, scope: Scope) -> None:
    """Raises Forbidden when the key lacks a scope."""
    if not key.may(scope):
        raise Forbidden(has=", ".join(sorted(key.scopes)) or "nothing", needs=scope)


async def may_read(request: Request) -> None:
    """Reading is public, unless the operator says otherwise."""
    if not request.app.state.registry.settings.public_read:
        await authorize(request, "read")


# --- what -------------------------------------------------------------------------------------------------------------


async def body(request: Request, content_type: str = "application/json") -> bytes:
    """The body's bytes. Raises UnsupportedMediaType, and TooLarge once the rest is read and thrown away."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != content_type:
        raise UnsupportedMediaType(given=given or "(none)", expected=content_type)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
        else:
            chunks.clear()
        if size > 4 * BODY_LIMIT:
            break
    if size > BODY_LIMIT:
        raise TooLarge(limit=BODY_LIMIT)
    return b"".join(chunks)


def slug(text: str) -> str:
    """A deal's or organization's name in a path that writes. Raises Invalid."""
    if len(text) > 80 or not _SLUG.match(text):
        raise Invalid([Fault("", f"'{text[:80]}' is no name: use lower-case letters, digits and hyphens, 80 at most")])
    return text


def query(request: Request, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The query's parameters, each read by its reader. Raises BadQuery for an unknown, repeated or unreadable one."""
    if not request.scope["query_string"]:
        return {}
    values: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        reader = known.get(name)
        if reader is None:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"is '{near[0]}' meant?" if near else f"known are {', '.join(known) or 'none'}"
            raise BadQuery(parameter=name, reason=f"there is no such parameter; {hint}")
        if name in values:
            raise BadQuery(parameter=name, reason="it is given twice")
        try:
            values[name] = reader(text)
        except ValueError as error:
            raise BadQuery(parameter=name, reason=str(error)) from None
    return values


def day(text: str) -> date:
    """A whole date."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError("a whole date is expected, such as 2025-10-29")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no day {text}") from None


def instant(text: str) -> datetime:
    """An instant; without an offset it could mean any of a day's, so one is demanded.

    A '+' that became a space is mended.
    """
    try:
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)\Z", r"+\1", text))
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("an instant with its offset is expected, such as 2025-10-29T12:00:00Z") from None


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number between bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high} is expected")
        return int(text)

    return read


def flag(text: str) -> bool:
    """true or false."""
    if text not in ("true", "false"):
        raise ValueError("true or false is expected")
    return text == "true"


def text(value: str) -> str:
    """Text without control characters."""
    if not value.strip() or len(value) > 2000 or re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("some text without control characters is expected")
    return value


def one_of(*values: str) -> Callable[[str], str]:
    """One of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)} is expected")
        return text

    return read


def some_of(*values: str) -> Callable[[str], tuple[str, ...]]:
    """Some of some words, parted by commas."""

    def read(text: str) -> tuple[str, ...]:
        return tuple(one_of(*values)(part) for part in text.split(","))

    return read


CLOCKS: dict[str, Callable[[str], Any]] = {
    "effective_on": day,
    "published_on": day,
    "recorded_at": instant,
    "position": whole(0, 2**53),
}


def clocks(asked: Mapping[str, Any], prefix: str = "") -> Clocks:
    """The clocks among a query's parameters."""
    return Clocks(**{name: asked.get(prefix + name) for name in CLOCKS})


def today() -> date:
    """The day that is meant when no other is asked for, in UTC."""
    return datetime.now(UTC).date()


def accept_datetime(request: Request) -> datetime | None:
    """What Accept-Datetime asks for: the end of that second (RFC 7089 §2.1.1). Raises BadQuery."""
    header = request.headers.get("accept-datetime")
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        raise BadQuery(parameter="Accept-Datetime", reason="an HTTP date is expected (RFC 9110 §5.6.7)") from None
    return moment.astimezone(UTC) + timedelta(seconds=1) - timedelta(microseconds=1)


def http_date(moment: datetime) -> str:
    """An instant as an HTTP date."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


# --- under which conditions -------------------------------------------------------------------------------------------


def expected_version(request: Request) -> int | None:
    """The version that If-Match demands; 0 for If-None-Match: *, -1 for If-Match: * (any). Raises BadQuery."""
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if none_match is not None:
        if none_match.strip() != "*" or match is not None:
            raise BadQuery(parameter="If-None-Match", reason="for a new deal only '*' is understood, without If-Match")
        return 0
    if match is None:
        return None
    if match.strip() == "*":
        return -1
    found = _ETAG.match(match)
    if found is None:
        raise BadQuery(parameter="If-Match", reason='an ETag of this deal is expected, such as "3"')
    return int(found.group(1))


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, if there is one. Raises BadQuery."""
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?", key):
        raise BadQuery(parameter="Idempotency-Key", reason="1 to 255 visible ASCII characters are expected")
    return key


def matches(request: Request, etag: str) -> bool:
    """Whether the client has this answer (If-None-Match, RFC 9110 §13.1.2)."""
    header = request.headers.get("if-none-match")
    if header is None:
        return False
    return header.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in header.split(",")]


def not_modified(headers: dict[str, str]) -> Response[None]:
    """304: what the client has still holds."""
    return Response(None, status_code=304, headers=headers)


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Encoded JSON as a response."""
    return Response(content, status_code=status, media_type="application/json", headers=headers or {})
