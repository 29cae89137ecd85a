"""Conditional requests: ETags, preconditions, idempotency keys, and instants in HTTP headers (RFC 9110, RFC 7089)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from registry.append.requests import ANY_VERSION
from registry.errors import InvalidParameter
from registry.http.bodies import Request, header

_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\Z", re.ASCII)
_ETAG = re.compile(r'\s*(?:W/)?"(\d{1,9})(?:;[^"]*)?"\s*\Z')
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def expected_version(request: Request) -> int | None:
    """Return the version that a request expects: 0 for `If-None-Match: *`, ANY_VERSION for `If-Match: *`.

    Raises:
        InvalidParameter: A header cannot be read.
    """
    if_match, if_none_match = header(request, b"if-match"), header(request, b"if-none-match")
    if if_none_match is not None:
        if if_none_match.strip() != "*" or if_match is not None:
            raise InvalidParameter("if_none_match", parameter="If-None-Match")
        return 0
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return ANY_VERSION
    etag = _ETAG.match(if_match)
    if etag is None:
        raise InvalidParameter("if_match", parameter="If-Match")
    return int(etag.group(1))


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key of a request.

    Raises:
        InvalidParameter: It cannot be stored.
    """
    key = header(request, b"idempotency-key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidParameter("idempotency_key", parameter="Idempotency-Key")
    return key


def accepted_instant(request: Request) -> datetime | None:
    """Return the end of the second that Accept-Datetime names (RFC 7089 §2.1.1).

    Raises:
        InvalidParameter: It is no HTTP date.
    """
    accept_datetime = header(request, b"accept-datetime")
    if accept_datetime is None:
        return None
    try:
        if not _HTTP_DATE.match(accept_datetime):
            raise ValueError
        second = parsedate_to_datetime(accept_datetime).astimezone(UTC)
        return second + timedelta(seconds=1) - timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise InvalidParameter("http_date", parameter="Accept-Datetime") from None


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has the answer with this ETag (If-None-Match, RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


def http_date(moment: datetime) -> str:
    """Return an instant as an HTTP date."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)
