"""What every page has: a reader's language, its clocks, its signed-in key, its frame, and headers that keep it safe.

Templates escape everything they are given; nothing here or elsewhere in `web/` marks text as markup. A page is kept,
rendered, under the log's position it was made at: the same address at the same position is the same page.
"""

from __future__ import annotations

import gzip
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

import jinja2
from litestar import Request as LitestarRequest
from litestar import Response
from litestar.exceptions import HTTPException, NotFoundException
from msgspec import Struct

from registry import errors
from registry.api import parameters, problems
from registry.api.deals import require_single_axis
from registry.domain.history import AsOf
from registry.i18n import LANGUAGES, Message, negotiate_language
from registry.infra.keys import Key
from registry.web import as_of, format  # noqa: A004
from registry.web.as_of import PageAsOf
from registry.web.i18n import N_, words
from registry.web.numbers import figures

T = TypeVar("T")
Request: TypeAlias = LitestarRequest[Any, Any, Any]
Known: TypeAlias = Mapping[str, parameters.Parameter[Any]]

COOKIE = "registry_key"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

# Rendered pages that are kept, and the size beyond which one is not.
KEPT_PAGES = 500
KEPT_BYTES = 400_000
# Parts of pages that are kept: the slider's stops, and the chart through time.
KEPT_PARTS = 12


class CachedPage(Struct):
    """A rendered page; compressed when somebody first wants it so."""

    body: bytes
    etag: str
    _packed: bytes | None = None

    @property
    def packed(self) -> bytes:
        if self._packed is None:
            self._packed = gzip.compress(self.body, 3)
        return self._packed


class PageRequest(Struct):
    """One request for a page: who reads, in which language, at which point in time, and what else the address says."""

    request: Request
    language: str
    times: PageAsOf
    asked: dict[str, Any]
    given: dict[str, str]
    key: Key | None
    token: str | None
    position: int
    recorded_at: datetime | None
    _standing: str | None = None

    @property
    def registry(self) -> Any:
        return self.request.app.state.registry

    @property
    def clocks(self) -> AsOf:
        return self.times.clocks

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def csrf(self) -> str:
        """What a form of this key's session must send back. Without the key nobody can make it."""
        return csrf_of(self.token) if self.token else ""

    def link(self, path: str, **more: Any) -> str:
        """An address at the same point in time and in the same language; a parameter that is None is left out."""
        if self._standing is None:
            self._standing = urlencode(self.sticky_params())
        if not more:
            return f"{path}?{self._standing}" if self._standing else path
        query = self.sticky_params()
        query.update({name.replace("__", "."): str(value) for name, value in more.items() if value is not None})
        for name, value in more.items():
            if value is None:
                query.pop(name, None)
        return f"{path}?{urlencode(query)}" if query else path

    def here(self, **changes: Any) -> str:
        """This page's own address with some parameters changed; one that is None is left out."""
        query = {name: value for name, value in self.given.items() if name != "cursor"}
        for name, value in changes.items():
            key = name.replace("__", ".")
            if value is None:
                query.pop(key, None)
            else:
                query[key] = as_of._text(value)
        return f"{self.path}?{urlencode(query)}" if query else self.path

    def language_params(self) -> dict[str, str]:
        """The language as a parameter, where the address has chosen one."""
        return {"lang": self.given["lang"]} if "lang" in self.given else {}

    def sticky_params(self) -> dict[str, str]:
        """What stays as it is from page to page: the point in time, the axis of the known clock, and the language."""
        axis = {"axis": self.given["axis"]} if "axis" in self.given else {}
        return {**self.times.query(), **axis, **self.language_params()}

    def alternate_url(self, path: str) -> str:
        """Another form of this very page, such as a table, at another path."""
        return f"{path}?{urlencode(self.given)}" if self.given else path

    def link_fields(self) -> list[tuple[str, str]]:
        """What stays as it is, as a form's hidden fields."""
        return list(self.sticky_params().items())

    def data(self, path: str, **more: Any) -> str:
        """The API's address of the same answer."""
        query = {**self.times.query(), **{k: v for k, v in more.items() if v is not None}}
        return f"{path}?{urlencode(query)}" if query else path


def csrf_of(token: str) -> str:
    """A key's anti-forgery token: only who holds the key can make it."""
    return hmac.new(token.encode(), b"registry csrf", hashlib.sha256).hexdigest()


async def visit(request: Request, known: Known | None = None, *, portfolio: bool = False) -> PageRequest:
    """Reads a page's address. Raises BadQuery, Redirected (to the address that a form stands for), and Unauthorized.

    `portfolio`: the public and the recorded clock exclude each other, as in the API's lists.
    """
    given = dict(request.query_params.items())
    key, token = await signed_in(request)
    if not request.app.state.registry.settings.public_read and key is None:
        raise errors.Unauthorized("sign_in_to_read")
    if {"known", "known_on"} & given.keys() or "" in given.values():
        try:
            query = as_of.canonical(given, parameters.today())
        except errors.InvalidParameter as error:
            raise error.of("known_on") from None
        raise Redirected(f"{request.url.path}?{urlencode(query)}" if query else request.url.path)
    everything: Known = {
        **parameters.CLOCKS,
        "axis": parameters.choice("recorded", "published"),
        "lang": parameters.choice(*LANGUAGES),
        **(known or {}),
    }
    asked = parameters.query(request, everything)
    clocks = parameters.clocks(asked)
    if portfolio:
        require_single_axis(clocks)
    head = await request.app.state.registry.log.head()
    axis: as_of.Axis = asked.get("axis") or (
        "recorded" if clocks.recorded_at or clocks.position is not None else "published"
    )
    return PageRequest(
        request=request,
        language=asked.get("lang") or negotiate_language(request.headers.get("accept-language")),
        times=PageAsOf(clocks, parameters.today(), axis),
        asked=asked,
        given=given,
        key=key,
        token=token,
        position=head.position,
        recorded_at=head.recorded_at,
    )


def public_request(request: Request, asked: dict[str, Any], key: Key | None, token: str | None) -> PageRequest:
    """A visit to a page that shows nothing of the registry, such as the one to sign in."""
    language = asked.get("lang") or negotiate_language(request.headers.get("accept-language"))
    open_ = PageAsOf(AsOf(), parameters.today(), "published")
    return PageRequest(request, language, open_, asked, dict(request.query_params.items()), key, token, 0, None)


async def signed_in(request: Request) -> tuple[Key | None, str | None]:
    """The key of the session's cookie, and its token; nothing for one that is not known any more."""
    token = request.cookies.get(COOKIE)
    if not token or len(token) > 500:
        return None, None
    key = await request.app.state.registry.keys.find(token)
    return (key, token) if key is not None else (None, None)


class CsrfError(errors.RegistryError):
    """The form belongs to another session or another site."""

    code = "csrf"


def check_csrf(request: Request, token: str | None, sent: str) -> None:
    """Refuses a form that another site sent, or that was not made for this session. Raises ForeignForm."""
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("//")[2] != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfError
    if token is not None and not hmac.compare_digest(csrf_of(token), sent):
        raise CsrfError


class Redirected(Exception):
    """The page is at another address."""

    def __init__(self, to: str, status: int = 303) -> None:
        super().__init__(to)
        self.to = to
        self.status = status


# --- rendering --------------------------------------------------------------------------------------------------------


@cache
def environment(language: str) -> jinja2.Environment:
    """The templates in one language. They escape every value and raise for an undefined name."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("registry.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do", "jinja2.ext.i18n"],
        auto_reload=False,
    )
    spoken = words(language)
    templates.install_gettext_translations(spoken.catalogue, newstyle=True)  # type: ignore[attr-defined]
    templates.globals.update(
        language=language,
        languages=LANGUAGES,
        label=spoken.label,
        own=spoken.localized,
        other=spoken.other,
        figures=figures(language),
        static=static_address,
        **format.helpers(language),
    )
    return templates


class Rendered(Struct, frozen=True):
    """A page's bytes, with its status."""

    body: bytes
    status: int


def render(visit: PageRequest, template: str, status: int = 200, **context: Any) -> Rendered:
    """A page, rendered now."""
    made = environment(visit.language).get_template(template).render(visit=visit, times=visit.times, **context)
    return Rendered(made.encode(), status)


def send(visit: PageRequest, rendered: Rendered) -> Response[bytes]:
    """A rendered page as an answer."""
    return _response(visit.request, compress(rendered.body), rendered.status, private=visit.key is not None)


def compress(body: bytes) -> CachedPage:
    return CachedPage(body, f'W/"{hashlib.sha256(body).hexdigest()[:20]}"')


def _response(request: Request, kept: CachedPage, status: int, *, private: bool) -> Response[bytes]:
    headers = {
        **HEADERS,
        "ETag": kept.etag,
        "Cache-Control": "private, no-cache" if private else "no-cache",
        "Vary": "Accept-Language, Accept-Encoding, Cookie",
        "Link": f'<{static_address("style.css")}>; rel="preload"; as="style"',
    }
    if status == 200 and parameters.matches(request, kept.etag.removeprefix("W/")):
        return Response(b"", status_code=304, headers=headers, media_type="text/html")
    body = kept.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = kept.packed, "gzip"
    return Response(body, status_code=status, media_type="text/html", headers=headers)


class PositionCache:
    """What holds as long as the log stays where it is, the least recently used going first.

    What another position said may have been erased since: it is not only unused, it is gone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._log: tuple[int, int] | None = None
        self._held: OrderedDict[Any, Any] = OrderedDict()

    def get(self, visit: PageRequest, key: Any) -> Any:
        """What was put there at the visit's position; None for nothing."""
        log = (id(visit.registry), visit.position)
        if log != self._log:
            self._held.clear()
            self._log = log
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, visit: PageRequest, key: Any, value: Any) -> None:
        """Keeps a value, unless the log has moved since it was asked for."""
        if (id(visit.registry), visit.position) == self._log:
            self._held[key] = value
            if len(self._held) > self._limit:
                self._held.popitem(last=False)

    def values(self) -> list[Any]:
        return list(self._held.values())


_kept = PositionCache(KEPT_PAGES)
_parts = PositionCache(KEPT_PARTS)


async def cached_fragment(visit: PageRequest, key: tuple[Any, ...], make: Callable[[], Awaitable[T]]) -> T:
    """A part that many pages of this position of the log share, made once; `key` is all else that it depends on."""
    found: T | None = _parts.get(visit, key)
    if found is None:
        found = await make()
        _parts.put(visit, key, found)
    return found


async def cached_page(visit: PageRequest, make: Callable[[], Awaitable[Rendered]]) -> Response[bytes]:
    """The page as it was made at this position of the log, for readers who are not signed in; else made now."""
    if visit.key is not None:
        return send(visit, await make())
    question = (visit.path, tuple(sorted(visit.given.items())), visit.language, visit.times.today)
    found: CachedPage | None = _kept.get(visit, question)
    if found is None:
        made = await make()
        if made.status != 200 or len(made.body) > KEPT_BYTES:
            return send(visit, made)
        found = compress(made.body)
        _kept.put(visit, question, found)
    return _response(visit.request, found, 200, private=False)


# --- what goes wrong --------------------------------------------------------------------------------------------------

TITLES = {
    400: N_("Invalid address"),
    401: N_("Sign in required"),
    403: N_("Missing scope"),
    404: N_("Page not found"),
    405: N_("Method not allowed"),
    409: N_("This change conflicts with the deal’s history"),
    422: N_("Check the form"),
    500: N_("Internal server error"),
    503: N_("Service temporarily unavailable"),
}


def on_error(request: Request, error: Exception) -> Response[Any]:
    """An error as a page, in the reader's language as far as its sentence allows."""
    if isinstance(error, Redirected):
        return Response(b"", status_code=error.status, headers={"Location": error.to, "Cache-Control": "no-store"})
    if isinstance(error, errors.MergedInto):
        query = request.scope["query_string"].decode("latin-1")
        path = request.url.path.replace(f"/{error.params['deal']}", f"/{error.params['into']}", 1)
        return Response(b"", status_code=308, headers={"Location": f"{path}?{query}" if query else path})
    if isinstance(error, CsrfError):
        return error_page(request, 403, error.message)
    if isinstance(error, errors.RegistryError):
        answer = problems.on_registry_error(request, error)
    elif isinstance(error, HTTPException):
        answer = problems.on_http_exception(request, error)
    else:
        answer = problems.on_internal_error(request, error)
    status = answer.status_code or 500
    if status == 401 and request.method in ("GET", "HEAD"):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return Response(b"", status_code=303, headers={"Location": f"/sign-in?{urlencode({'then': target})}"})
    detail = error.message if isinstance(error, errors.RegistryError) else ""
    return error_page(request, status, detail, dict(answer.headers))


def error_page(
    request: Request, status: int, detail: Message | str, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """A page that says what went wrong and what to do."""
    chosen = request.query_params.get("lang")
    language = chosen if chosen in LANGUAGES else negotiate_language(request.headers.get("accept-language"))
    title = TITLES.get(status, TITLES[404] if status < 500 else TITLES[500])
    template = environment(language).get_template("error.html")
    body = template.render(status=status, title=words(language).gettext(title), detail=detail, visit=None, times=None)
    kept = {name: value for name, value in (headers or {}).items() if name.lower() in ("retry-after", "allow")}
    return Response(
        body.encode(),
        status_code=status,
        media_type="text/html",
        headers={**HEADERS, **kept, "Cache-Control": "no-store", "Vary": "Accept-Language"},
    )


def not_found(request: Request, error: NotFoundException) -> Response[Any]:
    """An address that leads nowhere: a page for who reads pages, a problem document for everybody else."""
    machine = request.url.path.startswith(("/v1", "/log/", "/health")) or request.method not in ("GET", "HEAD")
    if machine or "text/html" not in request.headers.get("accept", ""):
        return problems.on_http_exception(request, error)
    return error_page(request, 404, "")


LOST: dict[Any, Any] = {NotFoundException: not_found}
"""For the application as a whole."""

ERRORS: dict[Any, Any] = {
    Redirected: on_error,
    errors.RegistryError: on_error,
    HTTPException: on_error,
    Exception: on_error,
}


# --- files ------------------------------------------------------------------------------------------------------------

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@cache
def static_file(name: str) -> tuple[bytes, bytes, str] | None:
    """A static file: its bytes, packed too, and its content type. None when there is no such file."""
    suffix = name.rpartition(".")[2]
    path = resources.files("registry.web") / "static" / name
    if "/" in name or suffix not in TYPES or not path.is_file():
        return None
    body = path.read_bytes()
    return body, gzip.compress(body, 9), TYPES[suffix]


@cache
def static_address(name: str) -> str:
    """A static file's address; its content is in it, so that it may be kept for ever."""
    found = static_file(name)
    assert found is not None, name
    return f"/static/{name}?v={hashlib.sha256(found[0]).hexdigest()[:12]}"
