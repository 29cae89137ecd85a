"""Render templates into responses with an ETag, security headers and compression.

Not Litestar's `Template` response: it renders after the handler has returned and with one environment, while a page
needs its bytes in the handler, for the ETag and the cache (cache.py), and an environment per language.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket
from litestar import Response
from markupsafe import Markup, escape
from msgspec import Struct

from registry.domain.audit.labels import kind_of
from registry.domain.sources.identity import source_id
from registry.domain.totals.doubts import DOUBTING_FLAGS
from registry.formatting.language import DOT, words, written_in
from registry.formatting.messages import messages
from registry.formatting.numbers import figures
from registry.formatting.summaries import summarize_event
from registry.formatting.values import RELATED, capitalized, fault_of, own_changes, shown
from registry.formatting.word_diff import word_diff
from registry.http.compression import accepts_gzip
from registry.http.conditional import matches
from registry.i18n import LANGUAGES
from registry.web.charts.maps import map_labels
from registry.web.page.assets import static_url
from registry.web.page.names import principal_name
from registry.web.page.request import PageRequest, Request

_SHORT = 24

EMBEDDED = "/embed/"
"""Other sites may show pages below this path in a frame, and no other pages."""

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
"""Headers of every page."""


class CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """The code of the templates, which is the same in every language: gettext runs when a page is rendered.

    It is kept in memory, and in a folder, so that the next process need not compile it: reading it takes 0.03 s of
    processor time, compiling it 0.83 s.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), f"%s.{sys.implementation.cache_tag}.jinja")
        self._code: dict[str, Any] = {}

    def get_source_checksum(self, source: str) -> str:
        """What the code depends on: the template, Jinja, and the environment and filters, which are in this file."""
        return hashlib.sha256(b"\0".join((source.encode(), jinja2.__version__.encode(), _this_file()))).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get(bucket.key)
        with suppress(OSError):
            if bucket.code is None:
                super().load_bytecode(bucket)
                self._code[bucket.key] = bucket.code

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.code
        # The installation may be read-only.
        with suppress(OSError):
            if not sys.dont_write_bytecode:
                Path(self.directory).mkdir(parents=True, exist_ok=True)
                super().dump_bytecode(bucket)


@cache
def _this_file() -> bytes:
    return Path(__file__).read_bytes()


# Where Python keeps the code of modules.
_code = CompiledTemplates(Path(cache_from_source(__file__)).parent)


class _Context(jinja2.runtime.Context):
    """A context that is in the page's list of contexts: those of included and imported templates are in it, too."""

    def __init__(self, environment: jinja2.Environment, parent: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(environment, parent, *args, **kwargs)
        parent[_CONTEXTS].append(self)


class _Template(jinja2.Template):
    """A template whose macros are freed with the page.

    A macro refers to its context, and the context to the macro. Such a cycle keeps all values of the page until garbage
    is collected, and the collection then frees them at once: 160,000 objects of the comparison of a long deal.
    """

    def render(self, *args: Any, **kwargs: Any) -> str:
        contexts: list[_Context] = []
        try:
            return super().render(*args, **kwargs, **{_CONTEXTS: contexts})
        finally:
            while contexts:
                contexts.pop().vars.clear()


_CONTEXTS = "contexts of the page"


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
        bytecode_cache=_code,
    )
    templates.template_class, templates.context_class = _Template, _Context
    spoken = words(language)
    templates.install_gettext_translations(spoken.catalogue, newstyle=True)  # type: ignore[attr-defined]
    templates.filters["base64"] = lambda content: base64.b64encode(content).decode()
    templates.filters["joined"] = _joined
    templates.globals.update(
        ngettext=partial(_plural, language),
        language=language,
        languages=LANGUAGES,
        dot=DOT,
        label=spoken.label,
        in_order=spoken.in_order,
        localized=spoken.localized,
        other_text=spoken.other,
        figures=figures(language),
        static=static_url,
        **_helpers(language),
    )
    return templates


def _plural(language: str, singular: str, plural: str, num: int, **values: object) -> Markup:
    """A page string in the plural form for a number, which it has as `num` with its digits grouped."""
    text = words(language).ngettext(singular, plural, num)
    return Markup(text) % {**values, "num": figures(language).number(num)}  # noqa: S704 - a text of the catalogue


def _joined(text: str) -> Markup:
    """A text in parts with a dot between two of them, with which no line begins: `.joined` in the style sheet.

    A short one stays in one line.
    """
    first, *rest = text.split(DOT)
    if not rest or len(text) <= _SHORT:
        return escape(text.replace(" ", "\u00a0") if rest else text)
    parts = [Markup("<span>{}</span>").format(first), *map(Markup("<span><i>·</i> {}</span>").format, rest)]
    return Markup('<span class="joined">{}</span>').format(Markup(" ").join(parts))


def _related(language: str, relation: str, one: str, other: str) -> Markup:
    """A relation of two deals or pledges, which may be links."""
    return Markup(words(language).gettext(RELATED[relation])) % {"one": one, "other": other}  # noqa: S704 - as above


def compile_templates() -> None:
    """Compile every template. On the event loop, the first request for a page would take 300 ms."""
    for language in LANGUAGES:
        templates = environment(language)
        for name in templates.list_templates(extensions=["html", "svg"]):
            templates.get_template(name)


def _helpers(language: str) -> dict[str, Callable[..., Any]]:
    """The functions that templates call to format values."""
    here, formatter = shown(language), messages(language)
    return {
        "value": here.value,
        "field": here.field,
        "change": here.change,
        "lines": here.lines,
        "type_of": here.type_of,
        "moment": here.moment,
        "money": here.figures.money,
        "also": here.figures.other_currencies,
        "day": here.figures.day,
        "instant": here.figures.instant,
        "edtf_date": here.figures.edtf_date,
        "effective_date": here.effective_date,
        "horizon": here.figures.horizon,
        "place": here.figures.place,
        "number": here.figures.number,
        "kind_of": kind_of,
        "with_note": here.words.with_note,
        "doubts_amount": DOUBTING_FLAGS.__contains__,
        "map_labels": map_labels,
        "source_id": source_id,
        "own_changes": own_changes,
        "event_summary": partial(summarize_event, here),
        "message": formatter.text,
        "fault_of": fault_of,
        "flag_text": formatter.flag_text,
        "flag_figures": formatter.figures,
        "word_diff": word_diff,
        "related": partial(_related, language),
        "written_in": written_in,
        "principal_name": partial(principal_name, words(language)),
        "capitalized": capitalized,
    }


EMBED_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors *"
    ),
}
"""Headers of a page to embed. It has no scripts and no forms, so a click in it does nothing in the reader's name."""

SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

NO_FRAME: dict[str, Any] = {"sliders": None, "data_url": None, "csv_url": None, "cite": None, "description": None}
"""What base.html shows around a page and most pages have: time sliders, other formats, a citation."""


class Rendered(Struct, frozen=True):
    """The bytes of a page and its status."""

    body: bytes
    status: int


class EncodedPage(Struct, frozen=True):
    """The bytes of a page, and its ETag.

    Attributes:
        body: The bytes.
        etag: The tag. It is weak, since one page has several encodings.
        compressed: The same bytes with gzip. None: they are compressed when they are sent (`http/compression.py`).
    """

    body: bytes
    etag: str
    compressed: bytes | None = None


def render(page: PageRequest, template: str, status: int = 200, **context: Any) -> Rendered:
    """Render a template for a request."""
    values = {**NO_FRAME, **context}
    text = environment(page.language).get_template(template).render(page=page, times=page.times, **values)
    return Rendered(text.encode(), status)


def send(page: PageRequest, rendered: Rendered) -> Response[bytes]:
    """Answer a request with a rendered page that is not cached."""
    encoded = EncodedPage(rendered.body, _etag(rendered.body))
    return page_response(page.request, encoded, rendered.status, private=page.key is not None)


def encode_for_cache(body: bytes) -> EncodedPage:
    """A page that is sent more than once.

    It is compressed here, not at each request: for the 52 KB of the overview this takes 0.9 ms, where a request for the
    cached page takes 1.6 ms (2 cores, November 2026). The page of an organization with 2,000 deals takes 9 ms, so call
    it in a thread.
    """
    return EncodedPage(body, _etag(body), gzip.compress(body, 3))


def _etag(body: bytes) -> str:
    return f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'


def page_response(request: Request, page: EncodedPage, status: int, *, private: bool) -> Response[bytes]:
    """A page as a response: 304 if the client has it.

    Args:
        request: The request.
        page: The page.
        status: The page's status.
        private: Whether the page was made for a signed-in key.
    """
    headers = {
        **(EMBED_HEADERS if request.url.path.startswith(EMBEDDED) else HEADERS),
        "ETag": page.etag,
        "Cache-Control": "private, no-cache" if private else "no-cache",
        "Vary": "Accept-Language, Accept-Encoding, Cookie",
        "Link": f'<{static_url("style.css")}>; rel="preload"; as="style"',
    }
    if status == 200 and matches(request.headers.get("if-none-match"), page.etag.removeprefix("W/")):
        return Response(b"", status_code=304, headers=headers, media_type="text/html")
    body = page.body
    if page.compressed is not None and accepts_gzip(request.headers.get("accept-encoding", "").encode("latin-1")):
        body, headers["Content-Encoding"] = page.compressed, "gzip"
    return Response(body, status_code=status, media_type="text/html", headers=headers)


def svg_response(page: PageRequest, rendered: Rendered, name: str) -> Response[bytes]:
    """A chart as a file of SVG."""
    headers = {
        **HEADERS,
        "Content-Security-Policy": SVG_POLICY,
        "Content-Disposition": f'inline; filename="{name}-{page.position}.svg"',
        "Cache-Control": "private, no-cache" if page.key is not None else "no-cache",
        "Vary": "Accept-Language, Cookie",
    }
    return Response(rendered.body, media_type="image/svg+xml", headers=headers)
