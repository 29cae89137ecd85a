"""What every handler needs of a request: who asks, what is asked, under which conditions.

Strict: what is not known is refused.
"""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Generic, TypeAlias, TypeVar

from litestar import Request as LitestarRequest
from litestar import Response
from msgspec import Struct

from registry.append.requests import ANY_VERSION
from registry.domain.history import AsOf
from registry.errors import (
    BodyTimeout,
    FieldError,
    Forbidden,
    IncompleteBody,
    Invalid,
    InvalidParameter,
    NotFound,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from registry.infra.keys import Key, Scope

Request: TypeAlias = LitestarRequest[Any, Any, Any]
T = TypeVar("T")

# A request's body may have this many bytes; up to four times as many are read and thrown away, so that whoever sends
# too much gets the answer instead of a reset connection.
BODY_LIMIT = 8 * 2**20

# Seconds that a body may take to arrive: a client that stalls must not hold its connection for ever.
BODY_SECONDS = 60.0

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\Z", re.ASCII)
_ETAG = re.compile(r'\s*(?:W/)?"(\d{1,9})(?:;[^"]*)?"\s*\Z')


def header(request: Request, name: bytes) -> str | None:
    """A header of a request, by its name in small letters. The framework would make a mapping of all of them first."""
    for other, value in request.scope["headers"]:
        if other == name:
            return value.decode("latin-1")
    return None


# --- who --------------------------------------------------------------------------------------------------------------


async def authorize(request: Request, scope: Scope) -> Key:
    """The key that asks. Raises Unauthorized without one, and Forbidden when it lacks the scope."""
    key = await authenticate(request)
    if key is None:
        raise Unauthorized("missing")
    require_scope(key, scope)
    return key


async def authenticate(request: Request) -> Key | None:
    """The key that asks, or None when there is none. Raises Unauthorized for one that is not known."""
    given = header(request, b"authorization")
    if given is None:
        return None
    kind, _, token = given.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Unauthorized("header")
    key = await request.app.state.registry.keys.find(token.strip())
    if key is None:
        raise Unauthorized("unknown_key")
    return key  # type: ignore[no-any-return]


def require_scope(key: Key, scope: Scope) -> None:
    """Raises Forbidden when the key lacks a scope."""
    if not key.allows(scope):
        raise Forbidden(scopes=tuple(sorted(key.scopes)), needs=scope)


async def may_read(request: Request) -> None:
    """Reading is public, unless the operator says otherwise."""
    if not request.app.state.registry.settings.public_read:
        await authorize(request, "read")


# --- what -------------------------------------------------------------------------------------------------------------


async def body(request: Request, content_type: str = "application/json") -> bytes:
    """The body's bytes.

    Raises UnsupportedMediaType, TooSlow, Incomplete, and TooLarge once the rest is read and thrown away.
    """
    require_content_type(request, content_type)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more and size <= 4 * BODY_LIMIT:
                message: Any = await request.receive()
                if message["type"] == "http.disconnect":
                    raise IncompleteBody
                chunk, more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size <= BODY_LIMIT:
                    chunks.append(chunk)
                else:
                    chunks.clear()
    except TimeoutError:
        raise BodyTimeout(seconds=f"{BODY_SECONDS:g}") from None
    if size > BODY_LIMIT:
        raise TooLarge(limit=BODY_LIMIT)
    return b"".join(chunks)


def require_content_type(request: Request, content_type: str) -> None:
    """Raises UnsupportedMediaType unless the body says that it is this, in UTF-8 and not compressed."""
    given = header(request, b"content-type") or ""
    kind, _, parameters = given.partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    if kind.strip().lower() != content_type or (charset and charset.group(1).lower() not in ("utf-8", "utf8")):
        raise UnsupportedMediaType("type" if given else "missing", given=given[:100], expected=content_type)
    encoding = header(request, b"content-encoding") or "identity"
    if encoding.lower() != "identity":
        raise UnsupportedMediaType("encoding", given=encoding[:100])


def slug(text: str) -> str:
    """A deal's or organization's name in a path that writes. Raises Invalid."""
    if not is_slug(text):
        raise Invalid([FieldError("", "slug", value=text[:80])])
    return text


def require_valid_slug(kind: str, text: str) -> None:
    """Raises NotFound for what cannot be a name, so that no more is asked about it."""
    if not is_slug(text):
        raise NotFound("slug", kind=kind, slug=text[:80])


def is_slug(text: str) -> bool:
    """Whether a text can name a deal or an organization."""
    return len(text) <= 80 and _SLUG.match(text) is not None


class Parameter(Struct, Generic[T], frozen=True):
    """What may be asked for in a query: how it is read, and how it is documented (a JSON Schema).

    `read` raises InvalidParameter, whose text tells what is expected.
    """

    read: Callable[[str], T]
    schema: dict[str, Any]

    def __call__(self, text: str) -> T:
        return self.read(text)


def query(request: Request, known: Mapping[str, Parameter[Any]]) -> dict[str, Any]:
    """The query's parameters, each read as it is documented.

    Raises BadQuery for an unknown, repeated or unreadable one.
    """
    if not request.scope["query_string"]:
        return {}
    values: dict[str, Any] = {}
    for name, given in request.query_params.multi_items():
        parameter = known.get(name)
        if parameter is None:
            near = difflib.get_close_matches(name[:100], known, 1, 0.5)
            if near:
                raise InvalidParameter("unknown_similar", parameter=name[:100], similar=near[0])
            raise InvalidParameter("unknown" if known else "none", parameter=name[:100], known=tuple(known))
        if name in values:
            raise InvalidParameter("repeated", parameter=name)
        try:
            values[name] = parameter.read(given)
        except InvalidParameter as error:
            raise error.of(name) from None
    return values


def _day(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise InvalidParameter("date")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidParameter("no_such_date", value=text) from None


def _instant(text: str) -> datetime:
    try:
        # A '+' that was not escaped arrives as a space.
        moment = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)\Z", r"+\1", text))
        if moment.tzinfo is None or "T" not in text.upper():
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter("instant") from None


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidParameter("boolean")
    return text == "true"


def _name(text: str) -> str:
    if not is_slug(text):
        raise InvalidParameter("slug")
    return text


def _place(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", text, re.ASCII):
        raise InvalidParameter("place")
    return text


def _text(text: str) -> str:
    if not text.strip() or len(text) > TEXT_LIMIT or re.search(r"[\x00-\x1f\x7f]", text):
        raise InvalidParameter("text", limit=TEXT_LIMIT)
    return text


TEXT_LIMIT = 2000

# An instant without an offset could mean any of a day's, so one is demanded.
day = Parameter(_day, {"type": "string", "format": "date", "examples": ["2025-10-29"]})
instant = Parameter(_instant, {"type": "string", "format": "date-time", "examples": ["2025-10-29T12:00:00Z"]})
flag = Parameter(_flag, {"type": "boolean"})
name = Parameter(_name, {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 80})
place = Parameter(_place, {"type": "string", "pattern": "^[A-Z]{2}(-[A-Z0-9]{1,3})?$", "examples": ["KR-31"]})
text = Parameter(_text, {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT})


def integer(low: int, high: int, default: int | None = None) -> Parameter[int]:
    """A whole number between bounds. `default` is what the handler takes when it is not given."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
            raise InvalidParameter("integer", low=low, high=high)
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(read, schema if default is None else {**schema, "default": default})


def choice(*values: str) -> Parameter[str]:
    """One of some words."""

    def read(text: str) -> str:
        if text not in values:
            raise InvalidParameter("choice", known=values)
        return text

    return Parameter(read, {"type": "string", "enum": list(values)})


def choices(*values: str) -> Parameter[tuple[str, ...]]:
    """Some of some words, parted by commas."""
    word = choice(*values)
    alternatives = "|".join(map(re.escape, values))
    return Parameter(
        lambda text: tuple(word.read(part) for part in text.split(",")),
        {"type": "string", "pattern": f"^({alternatives})(,({alternatives}))*$", "examples": [",".join(values)]},
    )


CLOCKS: dict[str, Parameter[Any]] = {
    "effective_on": day,
    "published_on": day,
    "recorded_at": instant,
    "position": integer(0, 2**53),
}


NOW = AsOf()


def clocks(asked: Mapping[str, Any], prefix: str = "") -> AsOf:
    """The clocks among a query's parameters."""
    if not asked:
        return NOW
    return AsOf(**{name: asked.get(prefix + name) for name in CLOCKS})


def today() -> date:
    """The day that is meant when no other is asked for, in UTC."""
    return datetime.now(UTC).date()


def accept_datetime(request: Request) -> datetime | None:
    """What Accept-Datetime asks for: the end of that second (RFC 7089 §2.1.1). Raises BadQuery."""
    given = header(request, b"accept-datetime")
    if given is None:
        return None
    try:
        if not _HTTP_DATE.match(given):
            raise ValueError
        return parsedate_to_datetime(given).astimezone(UTC) + timedelta(seconds=1) - timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise InvalidParameter("http_date", parameter="Accept-Datetime") from None


def http_date(moment: datetime) -> str:
    """An instant as an HTTP date."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


# --- under which conditions -------------------------------------------------------------------------------------------


def expected_version(request: Request) -> int | None:
    """The version that If-Match demands; 0 for If-None-Match: *, ANY_VERSION for If-Match: *. Raises BadQuery."""
    match, none_match = header(request, b"if-match"), header(request, b"if-none-match")
    if none_match is not None:
        if none_match.strip() != "*" or match is not None:
            raise InvalidParameter("if_none_match", parameter="If-None-Match")
        return 0
    if match is None:
        return None
    if match.strip() == "*":
        return ANY_VERSION
    found = _ETAG.match(match)
    if found is None:
        raise InvalidParameter("if_match", parameter="If-Match")
    return int(found.group(1))


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, if there is one. Raises BadQuery."""
    key = header(request, b"idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?", key):
        raise InvalidParameter("idempotency_key", parameter="Idempotency-Key")
    return key


def matches(request: Request, etag: str) -> bool:
    """Whether the client has this answer (If-None-Match, RFC 9110 §13.1.2)."""
    given = header(request, b"if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in given.split(",")]


def not_modified(headers: dict[str, str]) -> Response[bytes]:
    """304: what the client has still holds."""
    return RawResponse(b"", 304, raw_headers(headers))


def json_response(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Encoded JSON as a response."""
    return RawResponse(content, status, raw_headers(headers or {}), JSON)


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Headers as they are sent."""
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"


class RawResponse(Response[bytes]):
    """An answer whose bytes are there already: they are sent as they are.

    What the framework does between a response and what is sent, for cookies, encoders and headers that may come from
    elsewhere, was a sixth of the time of a POST.
    """

    def __init__(self, content: bytes, status: int, headers: RawHeaders, media_type: bytes | None = None) -> None:
        self.content = content
        self.status_code = status
        self.cookies = []
        self.background = None
        self._headers = list(headers)
        if media_type is not None:
            self._headers += ((b"content-type", media_type), (b"content-length", str(len(content)).encode()))

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._send

    async def _send(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._headers})
        await send({"type": "http.response.body", "body": self.content})
