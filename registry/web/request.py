"""A request for a page: the reader's language, the as-of point, the signed-in key, and links that keep them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import urlencode

from litestar import Request as LitestarRequest
from msgspec import Struct

from registry import errors
from registry.domain.history import AsOf
from registry.i18n import LANGUAGES, negotiate_language
from registry.infra.keys import Key
from registry.web import as_of
from registry.web import query as parameters
from registry.web.as_of import PageAsOf
from registry.web.query import require_single_axis

Request: TypeAlias = LitestarRequest[Any, Any, Any]
Known: TypeAlias = Mapping[str, parameters.Parameter]

COOKIE = "registry_key"
MAX_TOKEN_LENGTH = 500


class PageRequest(Struct):
    """One request for a page.

    Args:
        request: Litestar's request.
        language: The interface language.
        times: The as-of point that the page shows.
        params: The values of the query parameters.
        query: The text of the query parameters.
        key: The signed-in API key.
        token: The secret of that key.
        position: The log position at which the page is made.
        recorded_at: When the event at that position was recorded.
    """

    request: Request
    language: str
    times: PageAsOf
    params: dict[str, Any]
    query: dict[str, str]
    key: Key | None
    token: str | None
    position: int
    recorded_at: datetime | None
    _sticky_query: str | None = None

    @property
    def services(self) -> Any:
        return self.request.app.state.services

    @property
    def as_of(self) -> AsOf:
        return self.times.clocks

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def csrf(self) -> str:
        """The anti-forgery token that each form of this session carries."""
        return csrf_token(self.token) if self.token else ""

    def link(self, path: str, **parameters: Any) -> str:
        """The address of another page at the same as-of point and in the same language.

        Args:
            path: The page's path.
            parameters: More query parameters, `__` standing for a dot; None removes one.
        """
        if self._sticky_query is None:
            self._sticky_query = urlencode(self.sticky_params())
        if not parameters:
            return f"{path}?{self._sticky_query}" if self._sticky_query else path
        return _address(path, _changed(self.sticky_params(), parameters))

    def here(self, **changes: Any) -> str:
        """The address of this page with some query parameters changed; None removes one."""
        return _address(self.path, _changed({n: v for n, v in self.query.items() if n != "cursor"}, changes))

    def language_params(self) -> dict[str, str]:
        """The query parameter of the language, if the address has it."""
        return {"lang": self.query["lang"]} if "lang" in self.query else {}

    def sticky_params(self) -> dict[str, str]:
        """The query parameters that links keep: the as-of point, the axis of the time slider and the language."""
        axis = {"axis": self.query["axis"]} if "axis" in self.query else {}
        return {**self.times.query(), **axis, **self.language_params()}

    def alternate_url(self, path: str) -> str:
        """The address of another form of this page, such as a table."""
        return _address(path, self.query)

    def link_fields(self) -> list[tuple[str, str]]:
        """The parameters that links keep, for a form's hidden fields."""
        return list(self.sticky_params().items())

    def data(self, path: str, **parameters: Any) -> str:
        """The address of the API's answer for the same as-of point."""
        return _address(path, {**self.times.query(), **{k: v for k, v in parameters.items() if v is not None}})


def _address(path: str, query: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _changed(query: dict[str, str], changes: Mapping[str, Any]) -> dict[str, str]:
    texts = {name.replace("__", "."): None if v is None else as_of.parameter_text(v) for name, v in changes.items()}
    changed = {**query, **texts}
    return {name: text for name, text in changed.items() if text is not None}


async def page_request(request: Request, known: Known | None = None, *, portfolio: bool = False) -> PageRequest:
    """Read the address of a page.

    Args:
        request: The request.
        known: The page's own query parameters.
        portfolio: Whether the page shows lists or totals, which take either the published or the recorded axis.

    Raises:
        InvalidParameter: A query parameter is unknown or has no valid value.
        Redirected: The query is that of a form, or has empty values; the canonical address follows.
        Unauthorized: Reading needs a key.
    """
    text = dict(request.query_params.items())
    key, token = await signed_in(request)
    services = request.app.state.services
    if not services.settings.public_read and key is None:
        raise errors.Unauthorized("sign_in_to_read")
    if {"known", "known_on"} & text.keys() or "" in text.values():
        try:
            query = as_of.canonical_query(text, services.calendar)
        except errors.InvalidParameter as error:
            raise error.of("known_on") from None
        raise Redirected(_address(request.url.path, query))
    every: Known = {
        **parameters.AXES,
        "axis": parameters.choice("recorded", "published"),
        "lang": parameters.choice(*LANGUAGES),
        **(known or {}),
    }
    params = parameters.query(request, every)
    point = parameters.as_of_point(params)
    if portfolio:
        require_single_axis(point)
    head = await services.log.head()
    await services.streams.latest_rates()
    axis: as_of.Axis = params.get("axis") or (
        "recorded" if point.recorded_at or point.position is not None else "published"
    )
    return PageRequest(
        request=request,
        language=params.get("lang") or negotiate_language(request.headers.get("accept-language")),
        times=await _page_as_of(services, point, axis),
        params=params,
        query=text,
        key=key,
        token=token,
        position=head.position,
        recorded_at=head.recorded_at,
    )


async def _page_as_of(services: Any, point: AsOf, axis: as_of.Axis) -> PageAsOf:
    calendar = services.calendar
    resolved = await services.streams.resolve(point)
    return PageAsOf(
        clocks=point, effective_on=resolved.effective_on, calendar=calendar, today=calendar.today(), axis=axis
    )


def public_request(request: Request, params: dict[str, Any], key: Key | None, token: str | None) -> PageRequest:
    """A request for a page without registry data, such as the sign-in page."""
    language = params.get("lang") or negotiate_language(request.headers.get("accept-language"))
    calendar = request.app.state.services.calendar
    today = calendar.today()
    now = PageAsOf(clocks=AsOf(), effective_on=today, calendar=calendar, today=today, axis="published")
    return PageRequest(request, language, now, params, dict(request.query_params.items()), key, token, 0, None)


async def signed_in(request: Request) -> tuple[Key | None, str | None]:
    """The key of the session cookie and its secret; None twice if there is none or it was revoked."""
    token = request.cookies.get(COOKIE)
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None, None
    key = await request.app.state.services.keys.find(token)
    return (key, token) if key is not None else (None, None)


class Redirected(Exception):
    """The page is at another address."""

    def __init__(self, to: str, status: int = 303) -> None:
        super().__init__(to)
        self.to = to
        self.status = status


# --- anti-forgery -----------------------------------------------------------------------------------------------------
#
# Not Litestar's CSRFConfig: its token is a cookie that is not bound to the session, so one of another session, or one
# that a sibling domain plants, is accepted, and it refuses the API's POSTs that have no cookies
# (test_recording.py::test_form_of_another_site_or_session_is_refused).


class CsrfError(errors.RegistryError):
    """The form belongs to another session or another site."""

    code = "csrf"


def csrf_token(token: str) -> str:
    """The anti-forgery token of a key's session: an HMAC that only a holder of the key's secret can make."""
    return hmac.new(token.encode(), b"registry csrf", hashlib.sha256).hexdigest()


def check_csrf(request: Request, token: str | None, sent: str) -> None:
    """Check that a form was made for this session and sent from this site.

    Args:
        request: The request with the form.
        token: The secret of the session's key; None if signing in.
        sent: The anti-forgery token of the form.

    Raises:
        CsrfError: It was not.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("//")[2] != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfError
    if token is not None and not hmac.compare_digest(csrf_token(token), sent):
        raise CsrfError
