"""Interface languages: a new one is a catalogue and one line, and its pages have no text that is left in English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from io import BytesIO
from pathlib import Path

import httpx
import pycountry
import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from registry import i18n
from registry.domain.money.rates import ECB
from registry.events.types import EVENT_TYPES
from registry.formatting.language import FORMAT
from registry.i18n import DEFAULT_LANGUAGE, LANGUAGES, negotiate_language
from registry.web.forms.event_types import form_event_type
from tests.i18n.test_pages import page_strings
from tests.service import Service
from tests.web.forms import fields, of_first, opened_article
from tests.web.html import plain
from tests.web.test_pages import PAGES

NEW = "eo"
START, END = "⟦", "⟧"
"""What stands around each text of the new language's catalogue."""

# Names, identifiers and notations that are the same in every language.
UNTRANSLATED = {
    *(
        "API",
        "Atom",
        "BOM",
        "BibTeX",
        "CSL",
        "CSV",
        "DD",
        "DEAL",
        "GPU",
        "GPUs",
        "ISO",
        "JSON",
        "KR",
        "LEI",
        "MM",
        "MW",
        "Merkle",
    ),
    *("PLEDGE", "PNG", "SHA", "SVG", "US", "UTC", "UUID", "Wikidata", "YYYY", "bn", "tn"),
}


def catalogue(language: str) -> Catalog:
    """The texts of a language, each marked; how it writes dates and numbers as English does."""
    marked = Catalog(locale=language)
    for file in i18n.catalogue_files(DEFAULT_LANGUAGE):
        for message in read_po(BytesIO(file.read_bytes()), locale=DEFAULT_LANGUAGE):
            if message.id and message.string:
                keep = message.context == FORMAT
                strings = [message.string] if isinstance(message.string, str) else list(message.string)
                texts = strings if keep else [f"{START}{text}{END}" for text in strings]
                plural = isinstance(message.id, (list, tuple))
                marked.add(message.id, texts if plural else texts[0], context=message.context)
    korean = next(f for f in i18n.catalogue_files("ko") if f.name == "pages.po")
    plurals = {m.id[0]: m.id for m in read_po(BytesIO(korean.read_bytes())) if isinstance(m.id, (list, tuple))}
    for string in page_strings():
        if (plural_id := plurals.get(string)) is not None:
            marked.add(plural_id, [f"{START}{text}{END}" for text in plural_id])
        else:
            marked.add(string, f"{START}{string}{END}")
    return marked


@pytest.fixture
def new_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An interface language that is added with a catalogue and one line."""
    (tmp_path / NEW).mkdir()
    with (tmp_path / NEW / "texts.po").open("wb") as file:
        write_po(file, catalogue(NEW), width=0)
    monkeypatch.setattr(i18n, "CATALOGUE_FOLDERS", [*i18n.CATALOGUE_FOLDERS, tmp_path])
    monkeypatch.setitem(i18n.LANGUAGES, NEW, "Esperanto")
    yield NEW
    i18n.translations.cache_clear()


def texts_of(html: str) -> str:
    """The texts of a page and of its attributes that readers meet, without data that names its own language."""
    html = re.sub(r"<(script|style|svg|pre|code|bdi|q)\b.*?</\1>", " ", html, flags=re.DOTALL)
    html = re.sub(r'<p class="printed">.*?</p>', " ", html)
    html = re.sub(r'<(\w+)[^>]* lang="[^"]*"[^>]*>[^<]*</\1>', " ", html)
    attributes = re.findall(r'\s(?:aria-label|title|placeholder|alt|data-l)="([^"]*)"', html)
    return unescape(" ".join([re.sub(r"<[^>]*>", " ", html), *attributes]))


def untranslated(text: str, data: set[str]) -> set[str]:
    """The words of a text that are neither in a catalogue's text nor data."""
    text = text.replace("…", END * 3)  # A text that is cut lacks the ends of the texts in it.
    while (inner := re.sub(rf"{START}[^{START}{END}]*{END}", " ", text)) != text:
        text = inner
    return set(re.findall(r"[A-Za-z]{2,}", text)) - data - UNTRANSLATED


def locale_words(language: str) -> set[str]:
    """The words that CLDR has for dates, places, languages and currencies."""
    locale = Locale.parse(language)
    names = [*locale.territories.values(), *locale.languages.values(), *locale.currencies.values()]
    for periods in (locale.months, locale.quarters):
        names += periods["format"]["abbreviated"].values()
    names += [*locale.currency_symbols.values(), *locale.currencies]
    return {word for name in names for word in re.findall(r"[A-Za-z]{2,}", str(name))}


async def data_words(pages: Service) -> set[str]:
    """Every word of the recorded data, of the source of the rates and of places; also capitalized."""
    places = " ".join(each.name for each in pycountry.subdivisions)
    words = set(re.findall(r"[A-Za-z]{2,}", f"{ECB} {places}"))
    recorded = ("/v1/export/events.ndjson", "/v1/organizations?limit=1000", "/v1/deals?limit=1000", "/v1/principals")
    for path in recorded:
        words |= set(re.findall(r"[A-Za-z]{2,}", (await pages.client.get(path)).text))
    return words | {word.capitalize() for word in words}


FORMS = [
    f"/organizations/amazon-web-services/record?type={tag}"
    if tag.startswith(("organization", "parent"))
    else f"/record?deal=sk-aws-ulsan&type={tag}"
    for tag in EVENT_TYPES
    if form_event_type(tag) is not None
]


async def test_page_of_a_new_language_has_no_english_text(
    demo_reader: httpx.AsyncClient, editor: httpx.AsyncClient, pages: Service, new_language: str
) -> None:
    event = re.findall(r'href="(/events/[0-9a-f-]{36})', (await demo_reader.get("/deals/amkor-songdo")).text)[0]
    errors = ["/deals/unknown", "/?effective_on=never", "/nowhere"]
    editing = ["/record", "/organizations/amazon-web-services/record", "/organizations/ulsan-korea/record", *FORMS]
    editing += [f"/deals/amkor-songdo/record?{way}={event.removeprefix('/events/')}" for way in ("corrects", "voids")]
    data = await data_words(pages) | locale_words(new_language)
    found: dict[str, tuple[str, list[str]]] = {}
    for client, paths in ((demo_reader, [*PAGES, event, *errors]), (editor, editing)):
        for path in paths:
            address = f"{path}{'&' if '?' in path else '?'}lang={new_language}"
            page = await client.get(address, headers={"Accept": "text/html"})
            assert f'<html lang="{new_language}">' in page.text, path
            assert START in page.text, path
            text = texts_of(page.text)
            for word in untranslated(text, data):
                found[word] = path, re.findall(rf".{{0,40}}\b{word}\b.{{0,40}}", text)[:1]
    assert found == {}


async def test_api_describes_a_problem_in_a_new_language(pages: Service, new_language: str) -> None:
    answer = await pages.visitor.get("/v1/deals/unknown", headers={"Accept-Language": new_language})
    assert answer.json()["detail"].startswith(START)


async def test_page_offers_every_other_language(reader: httpx.AsyncClient, new_language: str) -> None:
    html = (await reader.get(f"/?lang={new_language}")).text
    offered = re.findall(r'<a href="[^"]*lang=(\w+)" lang="\w+" hreflang="\w+">', html)
    assert set(offered) == set(LANGUAGES) - {new_language}


async def test_unknown_language_in_an_address_is_refused(reader: httpx.AsyncClient) -> None:
    assert (await reader.get("/?lang=tlh")).status_code == 400


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("fr, ko;q=0.1", "ko"),
        ("en;q=0.2, ko;q=0.4", "ko"),
        ("ko;q=nonsense", "en"),
        ("de", "en"),
    ],
)
def test_language_is_the_one_that_accept_language_prefers(header: str | None, language: str) -> None:
    assert negotiate_language(header) == language
    assert language in LANGUAGES


async def test_korean_pages_leave_no_sentence_of_the_registrys_in_english(
    reader: httpx.AsyncClient, editor: httpx.AsyncClient
) -> None:
    """Warnings, verification results, invalid addresses, missing records, amounts and field errors."""
    flagged = (await reader.get("/deals/amkor-songdo?lang=ko")).text
    flags = flagged[flagged.index('class="flags"') :].split("</section>")[0]
    assert "전체 금액을 한 곳의 금액으로 보도했을 수 있습니다." in flags
    event = re.search(r'href="(/events/[0-9a-f-]{36})', flags)
    assert event is not None
    verdict = (await reader.get(f"{event[1]}?lang=ko")).text
    said = verdict[verdict.index("서버 검증 완료:") :].split("</p>")[0]
    assert re.search(r"로그 순번 \d+의 기록은 .+ 버전 \d+\([^)]+\)이며", said), said
    lost = (await reader.get("/deals/never-heard-of?lang=ko")).text
    assert "‘never-heard-of’ 투자 건이 없습니다." in lost
    amount = (await reader.get("/record/amount", params={"event/amount": "수천억 원", "lang": "ko"})).text
    assert "구체적인 금액이 없습니다." in amount
    read = (await reader.get("/record/amount", params={"event/amount": "50억 달러 이상", "lang": "ko"})).text
    assert "5,000,000,000달러 이상" in plain(read)
    form = await opened_article(editor, deal="amkor-songdo", type="site_dropped", lang="ko")
    sent = {**fields(form.text), **of_first(site="no-such-site"), "effective_on": "2025-02-31", "step": "preview"}
    fault = (await editor.post("/record?lang=ko", data=sent)).text
    assert "날짜(YYYY-MM-DD)가 아닙니다" in fault
    refused = (await editor.post("/record?lang=ko", data={**sent, "effective_on": "2025-12-31"})).text
    assert "‘no-such-site’ 입지가 없습니다." in refused
    for page_of in (flagged, verdict, lost, amount, fault, refused):
        # A note of the record stays in its language, which is named.
        assert '<span lang="en">' not in re.sub(
            r'<span lang="en">[^<]*</span><span class="quiet">\(영어\)', "", page_of
        )
