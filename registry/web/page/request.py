"""A request for a page: the reader's language, the as-of point, the signed-in key, and links that keep them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from litestar import HttpMethod, Response
from litestar import Request as LitestarRequest
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter, SkipValidation
from msgspec import Struct

from registry import errors
from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.domain.principal import Credential
from registry.events.mirror_state import MirrorStatus
from registry.http import filters, parameters
from registry.http.guards import IGNORES_QUERY, check_query, check_scope
from registry.http.responses import location
from registry.i18n import LANGUAGES, negotiate_language
from registry.infra.data_licence_setting import DataLicence
from registry.infra.sessions import Sessions
from registry.infra.settings import Settings
from registry.queries.log import LogQueries
from registry.queries.principals import Principals
from registry.queries.streams import StreamReader
from registry.transparency.checkpoint import Checkpoint
from registry.transparency.evidence import Evidence
from registry.web.page.as_of import FORM_PARAMETERS, Axis, PageAsOf, canonical_query, parameter_text
from registry.web.page.names import PageNames

Request: TypeAlias = LitestarRequest[Any, Any, Any]

READ = [HttpMethod.GET, HttpMethod.HEAD]
COOKIE = "registry_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""The cookie's name over TLS: a browser takes one with this prefix from this host only (RFC 6265bis §4.1.3.2)."""

MAX_TOKEN_LENGTH = 500

SIGNED_OUT = "state"
"""The parameter in which an OpenID provider returns the reader's language after signing out there.

The address to which it sends browsers is registered there as it is (RP-Initiated Logout 1.0 §2).
"""


class Session(Struct, frozen=True):
    """Who has signed in, and the session's id and secret; None all where the reader has not signed in."""

    key: Credential | None = None
    id: str | None = None
    token: str | None = None


class PageRequest(Struct):
    """One request for a page.

    Args:
        request: Litestar's request.
        language: The interface language.
        times: The as-of point that the page shows.
        query: The text of the query parameters.
        session: Who has signed in.
        names: Looks up the names that the page shows.
        origin: The name of the log.
        licence: The licence of the data.
        position: The log position at which the page is made.
        recorded_at: When the event at that position was recorded.
        rate_imports: The number of imports of exchange rates that the page's totals may use.
        is_replayed: Whether the log begins with a replay, as the demo's does.
        checkpoint: The newest signed checkpoint.
        can_watch: Whether a reader can watch a page.
        mirror_of: The address of the registry that this service is a mirror of.
        mirror_has_stopped: Whether a contradiction has stopped the mirror.
    """

    request: Request
    language: str
    times: PageAsOf
    query: dict[str, str]
    session: Session
    names: PageNames
    origin: str
    licence: DataLicence | None
    position: int = 0
    recorded_at: datetime | None = None
    rate_imports: int = 0
    is_replayed: bool = False
    checkpoint: Checkpoint | None = None
    can_watch: bool = False
    mirror_of: str | None = None
    mirror_has_stopped: bool = False
    _sticky_query: str | None = None

    @property
    def key(self) -> Credential | None:
        """The signed-in principal."""
        return self.session.key

    @property
    def as_of(self) -> AsOf:
        return self.times.clocks

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def canonical(self) -> str:
        """The address of this page as it is now, without a point in time, filters and language."""
        return self.absolute(self.path)

    def absolute(self, path: str) -> str:
        """The whole address of a path of this registry."""
        return f"{str(self.request.base_url).rstrip('/')}{path}"

    @property
    def csrf(self) -> str:
        """The anti-forgery token that each form of this session carries."""
        return csrf_token(self.session.token) if self.session.token else ""

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

    def present(self, path: str, **parameters: Any) -> str:
        """The address of another page in the same language, without a point in time; otherwise as `link`."""
        return _address(path, _changed(self.language_params(), parameters))

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

    @property
    def sign_in(self) -> str:
        """The address of the sign-in page that leads back to this page."""
        return sign_in_address(self.here())

    @property
    def sign_out(self) -> str:
        """The address that the form for signing out is sent to."""
        return _address("/sign-out", self.language_params())

    def alternate_url(self, path: str) -> str:
        """The address of another form of this page, such as a table."""
        return _address(path, self.query)

    def watch_link(self, feed: str) -> str:
        """The address of the form that makes a watch of the events of a feed."""
        return _address("/watches/new", {**dict(parse_qsl(urlsplit(feed).query)), **self.language_params()})

    def link_fields(self) -> list[tuple[str, str]]:
        """The parameters that links keep, for a form's hidden fields."""
        return list(self.sticky_params().items())

    def data(self, path: str, **parameters: Any) -> str:
        """The address of the API's answer for the same as-of point."""
        return _address(path, {**self.times.query(), **{k: v for k, v in parameters.items() if v is not None}})


def language_of(address: str) -> str | None:
    """The language that the address of a page has; None if it has none."""
    lang = dict(parse_qsl(urlsplit(address).query)).get("lang")
    return lang if lang in LANGUAGES else None


def in_language(address: str, lang: str | None) -> str:
    """The address of a page with a language in the place of its own; the same address without one."""
    if lang is None:
        return address
    path, _, query = address.partition("?")
    return _address(path, {**dict(parse_qsl(query, keep_blank_values=True)), "lang": lang})


def sign_in_address(then: str) -> str:
    """The address of the sign-in page, in the language that the address of the page after it has."""
    return in_language(_address("/sign-in", {"then": then}), language_of(then))


def _address(path: str, query: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _changed(query: dict[str, str], changes: Mapping[str, Any]) -> dict[str, str]:
    changed: dict[str, Any] = {**query, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: parameter_text(value) for name, value in changed.items() if value is not None}


# --- query parameters and dependencies --------------------------------------------------------------------------------

AxisParameter: TypeAlias = Annotated[
    Axis | None, QueryParameter(description="The known axis that the time slider moves along.")
]
LanguageParameter: TypeAlias = Annotated[str | None, parameters.text("The language of the page.")]
Page: TypeAlias = NamedDependency[SkipValidation[PageRequest]]


async def check_page_query(request: Request) -> Response[bytes] | None:
    """Check the query of a page, or redirect the query of a form to its canonical address.

    A form without a script sends the days of its controls, and an empty value for each empty field.
    """
    if IGNORES_QUERY in request.route_handler.opt:
        return None
    text = dict(request.query_params.items())
    if request.url.path == "/" and SIGNED_OUT in text:
        return redirect(in_language("/", language_of(f"/?lang={text[SIGNED_OUT]}")))
    if FORM_PARAMETERS & text.keys() or "" in text.values():
        # Litestar resolves dependencies for handlers only, not for hooks.
        calendar: Calendar = request.app.state.services.calendar
        return redirect(_address(request.url.path, canonical_query(text, calendar)))
    await check_query(request)
    return None


def cookie_name(request: Request) -> str:
    """The name of the session's cookie."""
    return SECURE_COOKIE if request.url.scheme == "https" else COOKIE


async def session(
    request: Request,
    principals: NamedDependency[Principals],
    sessions: NamedDependency[SkipValidation[Sessions]],
) -> Session:
    """The session of a request's cookie; an empty one if there is none, it has ended, or its key was revoked."""
    token = request.cookies.get(cookie_name(request))
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return Session()
    found = await sessions.find(token, datetime.now(UTC))
    key = await principals.credential(found.principal, found.key) if found is not None else None
    return Session(key, found.id, token) if found is not None and key is not None else Session()


def language(request: Request, lang: LanguageParameter = None) -> str:
    """The language of a page: that of its address, else the one that the browser prefers.

    Raises:
        InvalidParameter: The address names a language that the interface does not have.
    """
    if lang is not None and lang not in LANGUAGES:
        raise errors.InvalidParameter("choice", parameter="lang", known=tuple(LANGUAGES))
    return lang or negotiate_language(request.headers.get("accept-language"))


def public_page(
    request: Request,
    language: NamedDependency[str],
    calendar: NamedDependency[Calendar],
    session: NamedDependency[SkipValidation[Session]],
    names: NamedDependency[SkipValidation[PageNames]],
    settings: NamedDependency[SkipValidation[Settings]],
    mirror: NamedDependency[SkipValidation[MirrorStatus | None]],
) -> PageRequest:
    """A request for a page without registry data, such as the sign-in page."""
    today = calendar.today()
    now = PageAsOf(clocks=AsOf(), effective_on=today, calendar=calendar, today=today, axis="published")
    query = dict(request.query_params.items())
    made = PageRequest(request, language, now, query, session, names, settings.log_origin, settings.data_licence)
    made.mirror_of = mirror.url if mirror is not None else None
    made.can_watch = mirror is None
    return made


async def page(
    request: Request,
    language: NamedDependency[str],
    as_of: NamedDependency[AsOf],
    calendar: NamedDependency[Calendar],
    session: NamedDependency[SkipValidation[Session]],
    names: NamedDependency[SkipValidation[PageNames]],
    settings: NamedDependency[SkipValidation[Settings]],
    log_queries: NamedDependency[LogQueries],
    streams: NamedDependency[StreamReader],
    evidence: NamedDependency[Evidence],
    mirror: NamedDependency[SkipValidation[MirrorStatus | None]],
    axis: AxisParameter = None,
) -> PageRequest:
    """A request for a page at a point in time.

    Raises:
        Unauthorized: Reading needs a key.
        Forbidden: It needs the scope `read`, and the key lacks it.
    """
    if not settings.public_read:
        if session.key is None:
            raise errors.Unauthorized("sign_in_to_read")
        check_scope(session.key, "read")
    head = await log_queries.head()
    await streams.latest_rates()
    resolved = await streams.resolve(as_of)
    is_at_recording = as_of.recorded_at is not None or as_of.position is not None
    return PageRequest(
        request=request,
        language=language,
        times=PageAsOf(
            clocks=as_of,
            effective_on=resolved.effective_on,
            calendar=calendar,
            today=calendar.today(),
            axis=axis or ("recorded" if is_at_recording else "published"),
        ),
        query=dict(request.query_params.items()),
        session=session,
        names=names,
        origin=settings.log_origin,
        licence=settings.data_licence,
        position=head.position,
        recorded_at=head.recorded_at,
        rate_imports=streams.rate_imports,
        is_replayed=await log_queries.is_replayed(),
        checkpoint=await evidence.newest_checkpoint(),
        can_watch=mirror is None,
        mirror_of=mirror.url if mirror is not None else None,
        mirror_has_stopped=mirror is not None and mirror.incident is not None,
    )


def portfolio_page(page: Page, portfolio_as_of: NamedDependency[AsOf]) -> PageRequest:
    """A request for lists or totals at a point in time, which take either the published or the recorded axis."""
    return page


DEPENDENCIES = {
    **parameters.DEPENDENCIES,
    **filters.DEPENDENCIES,
    "session": Provide(session),
    "language": Provide(language, sync_to_thread=False),
    "names": Provide(PageNames, sync_to_thread=False),
    "public_page": Provide(public_page, sync_to_thread=False),
    "page": Provide(page),
    "portfolio_page": Provide(portfolio_page, sync_to_thread=False),
}
"""Dependencies that handlers of pages share, by name."""


def redirect(to: str, cookie: str | None = None) -> Response[bytes]:
    """Redirect to another page, and set a cookie."""
    headers = {"Location": location(to), "Cache-Control": "no-store"} | ({"Set-Cookie": cookie} if cookie else {})
    return Response(b"", status_code=303, headers=headers)


# --- anti-forgery -----------------------------------------------------------------------------------------------------
#
# Not Litestar's CSRFConfig: its token is a cookie that is not bound to the session, so it accepts the token of another
# session, or one that a sibling domain plants; and it refuses the API's POSTs, which have no cookies
# (test_recording.py::test_form_of_another_site_or_session_is_refused).


class CsrfError(errors.RegistryError):
    """The form belongs to another session or another site."""

    code = "csrf"


def csrf_token(token: str) -> str:
    """The anti-forgery token of a session: an HMAC that only a holder of the session's secret can make."""
    return hmac.new(token.encode(), b"registry csrf", hashlib.sha256).hexdigest()


def _is_own(origin: str, request: Request) -> bool:
    """Whether an Origin is this site.

    Over TLS a page without TLS is another site: anyone between a browser and the service can write it. Without TLS both
    are accepted, because a proxy that ends TLS may not say so.
    """
    scheme, _, host = origin.partition("://")
    schemes = ("https",) if request.scope["scheme"] == "https" else ("http", "https")
    return scheme in schemes and host == request.headers.get("host")


def check_csrf(request: Request, token: str | None, sent: str) -> None:
    """Check that a form was made for this session and sent from this site.

    Args:
        request: The request with the form.
        token: The session's secret; None if signing in.
        sent: The anti-forgery token of the form.

    Raises:
        CsrfError: It was not.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and not _is_own(origin, request)
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfError
    if token is not None and not hmac.compare_digest(csrf_token(token).encode(), sent.encode()):
        raise CsrfError
