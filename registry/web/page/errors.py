"""Errors as pages, in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, get_args
from urllib.parse import parse_qs, parse_qsl, urlencode

from litestar import Response
from litestar.exceptions import HTTPException, NotFoundException, ValidationException
from msgspec import Struct

from registry import errors
from registry.domain.totals.measures import Quantity
from registry.events.currencies import Currency
from registry.events.values import MetricBasis
from registry.formatting.language import N_, words
from registry.formatting.values import shown
from registry.http import problems
from registry.http.responses import location
from registry.i18n import LANGUAGES, Message, negotiate_language
from registry.web.page.render import HEADERS, NO_FRAME, environment
from registry.web.page.request import COOKIE, CsrfError, Request, in_language, language_of, sign_in_address
from registry.web.portfolio.deal_list import facet_value

TITLES = {
    400: N_("Invalid address"),
    401: N_("Sign in required"),
    403: N_("Missing scope"),
    404: N_("Page not found"),
    405: N_("Method not allowed"),
    409: N_("This change conflicts with the deal’s history"),
    422: N_("Check the form"),
    429: N_("Too many requests"),
    500: N_("Internal server error"),
    503: N_("Service temporarily unavailable"),
}

# Titles of errors that the title of their status does not fit, by the error's code.
_TITLES_BY_CODE = {
    errors.QueryTooLong.code: N_("This question takes too long"),
    CsrfError.code: N_("This form was not accepted"),
}

# Headers of a problem document that its page has too.
_KEPT_HEADERS = ("retry-after", "allow")


# What is wrong with a bound that a reader typed into the filters of the overview, by the case of the error.
_BOUND_PROBLEMS = {
    "amount": N_("Enter the amount in digits, without separators."),
    "quantity": N_("Enter the quantity in digits, without separators."),
    "percent": N_("Enter a percentage from 0 to 100."),
    "amount_currency": N_("Select a currency: limits apply to amounts in one currency."),
    "metric_bounds": N_("Select a quantity: limits apply to one quantity."),
    "metric_unit": N_("Enter a unit: capacities are compared in one unit."),
}

# The groups of filters that are only valid together.
_BOUND_FIELDS = (
    ("currency", "amount_min", "amount_max"),
    ("metric", "metric_basis", "metric_min", "metric_max", "metric_unit"),
    ("share_min", "share_max"),
)


_QUANTITIES = tuple(one for group in get_args(Quantity) for one in (get_args(group) or (group,)))


class FilterField(Struct, frozen=True):
    """A filter of the form that asks for valid bounds."""

    name: str
    value: str
    options: Sequence[tuple[str, str]]
    problem: str | None


def on_error(request: Request, error: Exception) -> Response[Any]:
    """Answer an error with a page, or with a redirect to the sign-in page or to the page that replaces this one."""
    if isinstance(error, ValidationException):
        error = problems.registry_error(request, error)
    if isinstance(error, errors.MergedInto):
        query = request.scope["query_string"].decode("latin-1")
        path = request.url.path.replace(f"/{error.params['deal']}", f"/{error.params['into']}", 1)
        return Response(b"", status_code=308, headers={"Location": location(f"{path}?{query}" if query else path)})
    if isinstance(error, CsrfError):
        return error_page(request, 403, error.message)
    if isinstance(error, errors.InvalidParameter) and request.url.path == "/" and error.case in _BOUND_PROBLEMS:
        return _bounds_page(request, error)
    if isinstance(error, errors.RegistryError):
        answer = problems.on_registry_error(request, error)
    elif isinstance(error, HTTPException):
        answer = problems.on_http_exception(request, error)
    else:
        answer = problems.on_internal_error(request, error)
    status = answer.status_code or 500
    if status == 401 and request.method in ("GET", "HEAD"):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return Response(b"", status_code=303, headers={"Location": sign_in_address(target)})
    detail = error.message if isinstance(error, errors.RegistryError) else None
    return error_page(request, status, detail, dict(answer.headers))


def _bounds_page(request: Request, error: errors.InvalidParameter) -> Response[bytes]:
    """The form of the bounds that the overview cannot be filtered by, as typed, with the error at its field."""
    query, wrong = dict(request.query_params.items()), str(error.params["parameter"])
    names = next(group for group in _BOUND_FIELDS if wrong in group)
    language = _language(request)
    texts = words(language)
    choices = {"currency": get_args(Currency), "metric": _QUANTITIES, "metric_basis": get_args(MetricBasis)}
    options = {
        name: sorted(((one, facet_value(shown(language), name, one, {})) for one in values), key=itemgetter(1))
        for name, values in choices.items()
    }
    problem = texts.gettext(_BOUND_PROBLEMS[error.case or ""])
    fields = [
        FilterField(name, query.get(name, ""), options.get(name, ()), problem if name == wrong else None)
        for name in names
    ]
    others = {name: value for name, value in query.items() if name not in (*names, "cursor")}
    body = (
        environment(language)
        .get_template("filter_error.html")
        .render(
            title=texts.gettext(N_("Check the filters")),
            fields=fields,
            others=others,
            cleared=f"/?{urlencode(others)}" if others else "/",
            page=None,
            times=None,
            **{**NO_FRAME, "links": _links_of(request)},
        )
    )
    headers = {**HEADERS, "Cache-Control": "no-store", "Vary": "Accept-Language"}
    return Response(body.encode(), status_code=400, media_type="text/html", headers=headers)


def _language(request: Request) -> str:
    """The language of the page of an error."""
    chosen = request.query_params.get("lang")
    return chosen if chosen in LANGUAGES else negotiate_language(request.headers.get("accept-language"))


def _links_of(request: Request) -> HeaderLinks:
    cookie = request.headers.get("cookie", "")
    return _links(request.app, request.method, request.url.path, request.url.query, cookie)


def error_page(
    request: Request, status: int, detail: Message | None, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """A page that states an error.

    Args:
        request: The request that failed.
        status: The HTTP status.
        detail: What is wrong; None for general advice.
        headers: The headers of the problem document for the same error.
    """
    kept = {name: value for name, value in (headers or {}).items() if name.lower() in _KEPT_HEADERS}
    return Response(
        _rendered(_language(request), status, detail, _links_of(request)),
        status_code=status,
        media_type="text/html",
        headers={**HEADERS, **kept, "Cache-Control": "no-store", "Vary": "Accept-Language"},
    )


class HeaderLinks(Struct, frozen=True):
    """The links in the header of an error's page: to the same address in each language, to other pages in the language
    that the address has, and to the sign-in page. A mirror offers neither to sign in nor to record.

    An error may come before the session is read, so the cookie alone tells whether the reader has signed in.
    """

    languages: dict[str, str]
    language: str | None
    sign_in: str
    has_session: bool
    is_mirror: bool

    def link(self, path: str) -> str:
        """The address of another page in the language that the address of this one has."""
        return in_language(path, self.language)

    def link_fields(self) -> list[tuple[str, str]]:
        """The parameters that links keep, for a form's hidden fields."""
        return [("lang", self.language)] if self.language is not None else []


def _links(app: Any, method: str, path: str, query: str, cookie: str) -> HeaderLinks:
    fields = [(name, text) for name, text in parse_qsl(query) if name != "lang"]
    target = path if method in ("GET", "HEAD") else "/"
    lang = language_of(f"/?{query}")
    then = f"{target}?{query}" if query and target == path else in_language(target, lang)
    return HeaderLinks(
        {tag: f"{target}?{urlencode([*fields, ('lang', tag)])}" for tag in LANGUAGES} if target == path else {},
        lang,
        sign_in_address(then),
        f"{COOKIE}=" in cookie,
        app.state.services.mirror is not None,
    )


def _rendered(language: str, status: int, detail: Message | None, links: HeaderLinks) -> bytes:
    by_status = TITLES.get(status, TITLES[404] if status < 500 else TITLES[500])
    title = words(language).gettext(_TITLES_BY_CODE.get(detail.code, by_status) if detail else by_status)
    template = environment(language).get_template("error.html")
    context = {**NO_FRAME, "links": links}
    return template.render(status=status, title=title, detail=detail, page=None, times=None, **context).encode()


def not_found(request: Request, error: NotFoundException) -> Response[Any]:
    """Answer an unknown address: browsers with a page, other clients with a problem document."""
    if not _is_of_browser(request.method, request.url.path, request.headers.get("accept", "")):
        return problems.on_http_exception(request, error)
    return error_page(request, 404, None)


def page_before_routes(scope: Any, error: errors.RegistryError, status: int) -> tuple[bytes, dict[str, str]] | None:
    """The page of an error that no handler meets, such as too many requests, with its headers; None for programs."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if not _is_of_browser(scope["method"], scope["path"], headers.get(b"accept", "")):
        return None
    [chosen] = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[:1]
    language = chosen if chosen in LANGUAGES else negotiate_language(headers.get(b"accept-language"))
    query = scope["query_string"].decode("latin-1")
    links = _links(scope["app"], scope["method"], scope["path"], query, headers.get(b"cookie", ""))
    return _rendered(language, status, error.message, links), {**HEADERS, "Content-Type": "text/html; charset=utf-8"}


def _is_of_browser(method: str, path: str, accept: str) -> bool:
    is_for_programs = path.startswith(("/v1", "/log/", "/health")) or method not in ("GET", "HEAD")
    return "text/html" in accept and not is_for_programs


APPLICATION_HANDLERS: dict[Any, Any] = {NotFoundException: not_found}
"""Exception handlers for the whole application: no route matches an unknown address."""

PAGE_HANDLERS: dict[Any, Any] = {
    NotFoundException: on_error,
    errors.RegistryError: on_error,
    ValidationException: on_error,
    HTTPException: on_error,
    Exception: on_error,
}
"""Exception handlers of the pages."""
