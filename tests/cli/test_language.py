"""`--lang` and REGISTRY_LANG: the command's own messages and the service's problems in the reader's language."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry.cli import texts
from registry.cli.headings import HEADINGS, cell
from registry.cli.texts import Text
from registry.errors import BadSetting, NotFound
from registry.i18n import LANGUAGES, Label, render, translations
from registry.infra.problems import SettingProblem
from registry.infra.rate_limit_setting import RateLimit
from tests.api.announcements import registered
from tests.cli.test_service import run
from tests.databases import Server
from tests.service import Service, cloned, running

BAD_PORT = BadSetting(setting="REGISTRY_PORT (--port)", reason=SettingProblem("port", value="x"))


@pytest_asyncio.fixture(scope="module")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    async with cloned(server, admin, "cli_language") as settings, running(settings) as service:
        yield service


def test_error_is_printed_in_the_language_of_the_option() -> None:
    done = run("--lang", "ko", "serve", "--port", "x")
    assert (done.returncode, done.stderr) == (2, f"registry: {render(BAD_PORT.message, 'ko')}\n")


def test_error_is_printed_in_the_language_of_the_environment_and_the_option_wins() -> None:
    korean = run("serve", "--port", "x", REGISTRY_LANG="ko")
    assert korean.stderr == f"registry: {render(BAD_PORT.message, 'ko')}\n"
    english = run("--lang", "en", "serve", "--port", "x", REGISTRY_LANG="ko")
    assert english.stderr == f"registry: {render(BAD_PORT.message, 'en')}\n"


def test_error_is_printed_in_english_by_default() -> None:
    assert run("serve", "--port", "x").stderr == f"registry: {render(BAD_PORT.message, 'en')}\n"


def test_unknown_language_is_wrong_usage() -> None:
    assert run("--lang", "xx", "serve").returncode == 2


def joined(printed: str) -> str:
    """Printed help without the frames and line breaks."""
    return "".join(re.split(r"[\s│╭╮╰╯─]+", printed))


HELP = (
    *("Usage:", "Arguments", "Options", "Show this message and exit."),
    "Issue an API key. Its secret is shown once.",
    "Name of a new principal (a person or a system) for the key.",
    "URL of the role that owns the tables, for migrations and redactions.",
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("place", range(4))
def test_help_is_printed_in_the_language_wherever_the_option_is(language: str, place: int) -> None:
    words = ["keys", "create", "--help"]
    words[place:place] = ["--lang", language]
    done = run(*words)
    printed = joined(done.stdout)
    assert done.returncode == 0
    for text in HELP:
        assert joined(translations(language).pgettext("help", text)) in printed, text
    assert joined(translations(language).pgettext("help", "[default: {}]").format("person")) in printed


def test_help_is_printed_in_the_language_of_the_environment() -> None:
    korean = translations("ko").pgettext("help", "Issue, list, rotate and revoke API keys.")
    for words in ((), ("--help",), ("keys",), ("keys", "--help")):
        done = run(*words, REGISTRY_LANG="ko")
        assert joined(korean) in joined(done.stdout + done.stderr), words


@pytest.mark.parametrize(
    ("words", "text", "values"),
    [
        (("nothing",), "There is no command '{name}'.", {"name": "nothing"}),
        (("log", "nothing"), "There is no command '{name}'.", {"name": "nothing"}),
        (("totals", "--bad"), "There is no option {name}.", {"name": "--bad"}),
        (("totals", "--curency", "USD"), "Similar: {names}", {"names": "--currency"}),
        (("show",), "The argument {name} is missing.", {"name": "'deal'"}),
        (("list", "--limit"), "The option {name} needs a value.", {"name": "--limit"}),
        (("list", "--limit", "x"), "not a whole number", {}),
        (("show", "a", "b", "c"), "Too many arguments: {arguments}", {"arguments": "b c"}),
    ],
)
def test_error_of_usage_is_printed_in_the_language(words: tuple[str, ...], text: str, values: dict[str, str]) -> None:
    done = run("--lang", "ko", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert joined(translations("ko").pgettext("help", text).format(**values)) in joined(done.stderr)


@pytest.mark.drill
def test_help_loses_no_word_of_lines_with_wide_characters() -> None:
    printed = [run("log", "--help", REGISTRY_LANG="ko", COLUMNS=str(width)).stdout for width in range(50, 60)]
    assert len(set(map(joined, printed))) == 1


def test_table_on_a_terminal_loses_no_word_of_lines_with_wide_characters() -> None:
    program = "from registry.cli.options import show; show([{'words': ' '.join(['등록'] * 8)}])"
    terminal, output = os.openpty()
    # Four words of four cells, and the spaces between them, are a full line.
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"COLUMNS": "19"}, stdout=output, check=True)
    os.close(output)
    assert os.read(terminal, 1000).decode().count("등록") == 8
    os.close(terminal)


def test_table_on_a_terminal_has_headings_and_results_in_the_language() -> None:
    rows = [{"check": "Python", "found": "fine", "log ended at": 3, "registered": True, "scopes": ["KR", "US"]}]
    program = f"from registry.cli import options, texts; texts.language.set('ko'); options.show({rows})"
    terminal, output = os.openpty()
    subprocess.run([sys.executable, "-c", program], stdout=output, check=True)
    os.close(output)
    printed = os.read(terminal, 1000).decode()
    os.close(terminal)
    assert [word for word in ("점검", "정상", "로그 끝 순번", "예", "KR, US") if word not in printed] == []
    assert not re.search(r"[a-z]{3}", re.sub(r"\x1b\[[0-9;]*m", "", printed).replace("Python", ""))


async def test_problem_of_the_service_is_printed_in_the_language(service: Service) -> None:
    done = await asyncio.to_thread(run, "--lang", "ko", "show", "missing", "--url", service.url)
    assert done.returncode == 3
    assert done.stderr == f"registry: {render(NotFound('deal', deal='missing').message, 'ko')}\n"


def test_doctor_names_its_checks_in_the_language(tmp_path: Path) -> None:
    done = run("--lang", "ko", "doctor", "--port", "0", "--data-dir", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert render(Text("check_database"), "ko") in {row["check"] for row in json.loads(done.stdout)}


async def test_table_has_its_title_and_headings_in_the_language(service: Service) -> None:
    announcement = registered()
    announcement["event"]["title"] = {"en": "A bilingual plant", "ko": "두 언어 공장"}
    await service.client.post("/v1/deals/headed/events", json=announcement)
    found = (await service.client.get("/v1/deals")).json()
    for language in ("en", "ko"):
        done = await asyncio.to_thread(run, "--lang", language, "list", "--table", "--url", service.url)
        title, headings = done.stdout.splitlines()[:2]
        expected = Text("list_title", count=1, day=found["effective_on"], position=found["position"])
        assert title == render(expected, language)
        assert found["effective_on"] in title
        assert headings.split("  ")[0] == render(HEADINGS["deal"], language)
        assert {"en": "A bilingual plant", "ko": "두 언어 공장"}[language] in done.stdout


async def test_tables_name_related_deals_and_organizations_as_the_pages_do(service: Service) -> None:
    programme = {"type": "deal_registered", "title": {"ko": "큰 계획"}}
    first = {"effective_on": "2025-01-02", "event": programme}
    assert (await service.client.post("/v1/deals/the-programme/events", json=first)).status_code == 201
    party = {"organization": "beta", "name": {"ko": "베타"}, "role": "investor"}
    events = [
        {"type": "deal_registered", "title": {"ko": "한 공장"}},
        {"type": "parties_joined", "parties": [party]},
        {"type": "pledge_announced", "pledge": "total", "by": ["beta"]},
        {"type": "deals_related", "relation": "part_of", "pledge": "total", "deal": "the-programme"},
    ]
    sent = [{"effective_on": "2025-01-02", "event": event} for event in events]
    assert (await service.client.post("/v1/deals/related-plant/events", json=sent)).status_code == 201
    for words in (("show",), ("history",), ("compare", "--from-effective-on", "2024-01-01")):
        done = await asyncio.to_thread(
            run, "--lang", "ko", words[0], "related-plant", *words[1:], "--table", "--url", service.url
        )
        assert done.returncode == 0, done.stderr
        assert "투자 약속 total: 큰 계획의 일부" in re.sub(r"\s+", " ", done.stdout), done.stdout
        assert "the-programme" not in done.stdout
        assert "베타" in done.stdout
    words = ("provenance", "related-plant", "/relations")
    done = await asyncio.to_thread(run, "--lang", "ko", *words, "--table", "--url", service.url)
    # Of the field, the path is shown, which names the deal; its value is the deal's name.
    assert "큰 계획" in done.stdout
    assert "투자 약속 total" in done.stdout


async def test_table_shows_slugs_of_the_deals_whose_titles_the_service_refuses(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with cloned(server, admin, "cli_limited") as settings:
        limits = {"address": RateLimit(2, 3_600)}
        async with running(replace(settings, rate_limits=limits)) as limited:
            for slug in ("first-programme", "second-programme"):
                event = {"type": "deal_registered", "title": {"en": f"Title of {slug}"}}
                answer = await limited.client.post(f"/v1/deals/{slug}/events", json={"event": event})
                assert answer.status_code == 201
            events = [
                {"type": "deal_registered", "title": {"en": "A plant"}},
                {"type": "deals_related", "relation": "part_of", "deal": "first-programme"},
                {"type": "deals_related", "relation": "part_of", "deal": "second-programme"},
            ]
            sent = [{"effective_on": "2025-01-02", "event": event} for event in events]
            assert (await limited.client.post("/v1/deals/plant/events", json=sent)).status_code == 201
            done = await asyncio.to_thread(run, "show", "plant", "--table", "--url", limited.url)
            assert done.returncode == 0, done.stderr
            assert "Title of first-programme" in done.stdout
            assert "Title of second-programme" not in done.stdout
            assert "second-programme" in done.stdout


def test_results_of_checks_are_translated_in_their_column_only() -> None:
    token = texts.language.set("ko")
    try:
        assert cell("found", "wrong") == render(Text("cell_wrong"), "ko")
        assert cell("name", "wrong") == "wrong"
    finally:
        texts.language.reset(token)


async def test_tables_contain_the_labels_and_amounts_of_the_pages_in_the_language(service: Service) -> None:
    deal = "/v1/deals/labelled"
    amount = {"value": "2400000000000", "currency": "KRW", "qualifier": "about"}
    announced = [
        {
            "effective_on": "2025-01-02",
            "event": {"type": "deal_registered", "title": {"ko": "표의 공장"}, "kind": "investment"},
        },
        {
            "effective_on": "2025-01-02",
            "event": {
                "type": "parties_joined",
                "parties": [{"organization": "acme", "name": {"ko": "애크미"}, "role": "investor"}],
            },
        },
        {
            "effective_on": "2025-01-02",
            "event": {"type": "pledge_announced", "pledge": "total", "amount": amount, "by": ["acme"]},
        },
        {
            "effective_on": "2025-01-02",
            "event": {"type": "partnership_formed", "members": ["acme"], "instrument": "mou"},
        },
        {"effective_on": "2025-01-03", "event": {"type": "site_announced", "site": "a", "place": "KR-31"}},
        {"event": {"type": "claim_reported", "claim": "c", "field": "/pledges/total/amount", "value": amount}},
        {
            "effective_on": "2025-01-03",
            "event": {"type": "site_announced", "site": "b", "place": "KR-31", "power_mw": "1.5", "gpus": 1},
        },
    ]
    posted = (await service.client.post(f"{deal}/events", json=announced)).json()
    void = {"type": "event_voided", "voids": posted["events"][4]["id"], "reason": "잘못 등록"}
    await service.client.post(f"{deal}/events", json={"event": void})

    def table(*words: str) -> str:
        done = run("--lang", "ko", *words, "--table", "--url", service.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    tables = {
        "show": ("show", "labelled"),
        "list": ("list", "--organization", "acme"),
        "history": ("history", "labelled"),
        "provenance": ("provenance", "labelled", "/pledges"),
        "compare": ("compare", "labelled", "--from-position", "1"),
        "compare all": ("compare", "--from-position", "1"),
        "totals": ("totals", "--group-by", "stage"),
        "measure": ("totals", "--measure", "power_mw"),
    }
    printed = {name: await asyncio.to_thread(table, *words) for name, words in tables.items()}
    for name in ("show", "list", "history", "provenance", "compare", "totals"):
        assert "2조 4,000억 원" in printed[name], printed[name]
    assert "애크미(투자자)" in printed["show"]
    assert render(Label("flag/power-per-gpu"), "ko") in printed["show"]
    assert "무효 처리되어 반영되지 않음" in printed["history"]
    assert "등록 관리" in printed["history"]
    # Identifiers, which a reader types, and codes that Korean writes alike.
    allowed = {
        "labelled",
        "headed",
        "related-plant",
        "the-programme",
        "acme",
        "total",
        "plants",
        "mw",
        "kr-31",
        "utc",
        "c",
        "a",
        "b",
        "kw",
        "gpu",
    }
    for name, text in printed.items():
        words = set(re.findall(r"[a-z][a-z0-9_-]+", re.sub(r"/\S+", "", text).lower()))
        assert words <= allowed, (name, words - allowed, text)
