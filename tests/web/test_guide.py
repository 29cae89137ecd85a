"""About, help and glossary, and what the demo says about its recording times."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from registry.i18n import LANGUAGES
from registry.web.guide import TERMS, Meaning, Term, glossary
from tests.i18n.codes import catalogue_texts
from tests.service import NO_TLS, Service
from tests.web.html import main_of, text_of

CODES = [code for codes in TERMS.values() for code in codes]
ABOUT_THE_REPLAY = 'href="/about#demo"'


@pytest.mark.parametrize("language", LANGUAGES)
def test_term_has_a_name_and_a_meaning_in_each_language(language: str) -> None:
    for message in (Term, Meaning):
        texts = catalogue_texts(language, message.context)
        assert set(texts) == set(CODES)
        assert all(texts.values())


def test_terms_are_unique_and_in_the_documents_glossary_with_their_korean_name() -> None:
    assert len(set(CODES)) == len(CODES)
    document = Path(__file__).parents[2].joinpath("docs", "glossary.md").read_text(encoding="utf-8")
    for entries in glossary("en").values():
        for entry in entries:
            assert any(entry.name in row and entry.others["ko"] in row for row in document.splitlines()), entry


@pytest.mark.parametrize("language", LANGUAGES)
async def test_glossary_page_lists_every_term_with_its_name_in_the_other_language(
    reader: httpx.AsyncClient, language: str
) -> None:
    html = main_of((await reader.get("/glossary", params={"lang": language})).text)
    assert re.findall(r'<div id="([\w-]+)">', html) == CODES
    for entries in glossary(language).values():
        for entry in entries:
            assert all(name in html for name in (entry.name, *entry.others.values()))


@pytest.mark.parametrize("path", ["/about", "/help", "/glossary"])
@pytest.mark.parametrize("language", LANGUAGES)
async def test_contents_of_a_guide_lead_to_its_sections(reader: httpx.AsyncClient, path: str, language: str) -> None:
    page = await reader.get(path, params={"lang": language})
    assert page.status_code == 200
    html = main_of(page.text)
    assert set(re.findall(r'href="#([\w-]+)"', html)) <= set(re.findall(r'id="([\w-]+)"', html))


async def test_every_page_leads_to_the_guides(reader: httpx.AsyncClient) -> None:
    for path in ("/", "/deals/sk-aws-ulsan", "/log", "/sign-in", "/help"):
        html = (await reader.get(path)).text
        assert all(f'href="{guide}"' in html for guide in ("/about", "/help", "/glossary"))


async def test_registry_with_a_replayed_log_says_so_on_its_pages(reader: httpx.AsyncClient) -> None:
    for path in ("/", "/deals/sk-aws-ulsan", "/log", "/about"):
        assert ABOUT_THE_REPLAY in (await reader.get(path)).text
    assert 'id="demo"' in (await reader.get("/about")).text


async def test_registry_with_a_log_of_its_own_does_not_speak_of_a_replay(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS) as client:
        for path in ("/", "/about"):
            assert "#demo" not in (await client.get(path)).text


async def test_about_states_the_size_of_the_log(pages: Service, reader: httpx.AsyncClient) -> None:
    assert str(await pages.size()) in text_of(main_of((await reader.get("/about")).text))
