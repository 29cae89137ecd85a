"""A tracker's sheets: what changed is recorded, what may mean something else is asked, absence withdraws nothing."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from registry.errors import BadMapping
from registry.imports import mapping as mappings
from registry.imports.tracker import one_factor, slugified
from tests.api.conftest import Service
from tests.imports.conftest import DECEMBER, EXCERPT, MAPPING, MAY, Import, Ran

# The tracker's whole files, where somebody has put them in a folder beside the checkout.
WHOLE = [found.parent for found in Path(__file__).parents[3].glob(f"*/data/epoch/{DECEMBER[:7]}_centers.csv")]

FOLDERS = [EXCERPT, *WHOLE]

MADE_UP = """
[source]
publisher = "A tracker"

[sheets]
things = "plants"

[deal]
name = "Name"
slug = "t-"

[site]
address = "Address"
place = "Country"
power_mw = "MW"
gpus = "GPUs"

[[party]]
column = "Owner"
role = "investor"
"""


async def state(service: Service, slug: str, **asked: str) -> dict[str, Any]:
    answer = await service.client.get(f"/v1/deals/{slug}", params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def power(service: Service, slug: str, **asked: str) -> str | None:
    found: str | None = (await state(service, slug, **asked))["sites"][0]["power_mw"]
    return found


class Plants:
    """A made-up tracker with one sheet, imported day by day."""

    def __init__(self, import_: Import, folder: Path) -> None:
        self._import = import_
        self._folder = folder

    async def on(self, day: str, *rows: str, decided: str = "", header: str = "Name,MW,Address,Owner") -> Ran:
        sheet, mapping = self._folder / "plants.csv", self._folder / "plants.toml"
        sheet.write_text("\n".join([header, *rows]), "utf-8")
        mapping.write_text(MADE_UP + decided, "utf-8")
        return await self._import(sheet, mapping=mapping, published_on=day)


@pytest.fixture
def plants(import_: Import, tmp_path: Path) -> Plants:
    return Plants(import_, tmp_path)


def asked(ran: Ran) -> list[str]:
    return [line.removeprefix("? ") for line in ran.out.splitlines() if line.startswith("? ")]


# --- Epoch AI's frontier data centers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_two_vintages_of_a_tracker_become_a_history(service: Service, vintage: Import, folder: Path) -> None:
    """December 2025, then May 2026: shrunk plans, renames, a split and two columns of power are told apart."""
    first = await vintage(DECEMBER, folder=folder)
    assert first.code == 0, first.err
    assert asked(first) == []
    size = await service.size()
    assert (await vintage(DECEMBER, folder=folder)).out == "0 recorded, 0 known already; 0 questions\n"

    second = await vintage(MAY, folder=folder)
    assert second.code == 0, second.err
    questions = "\n".join(asked(second))

    # A plan that shrank is a change of the world, from the day of the sheet that says so.
    abilene = "epoch-openai-stargate-abilene"
    assert await power(service, abilene, effective_on="2026-05-19") == "2121"
    assert await power(service, abilene, effective_on=MAY) == "1180"
    between = {"from.effective_on": DECEMBER, "to.effective_on": MAY}
    compared = (await service.client.get(f"/v1/deals/{abilene}/compare", params=between)).json()
    [change] = [c for c in compared["world"] if c["field"] == "/sites/campus/power_mw"]
    assert (change["before"], change["after"]) == ("2121", "1180")
    assert change["causes"][0]["type"] == "site_revised"
    assert change["causes"][0]["sources"][0]["publisher"] == "Epoch AI"
    # When the plan is to be complete moved, too.
    [step] = (await state(service, abilene, effective_on=MAY))["milestones"]
    assert (step["planned"], step["power_mw"]) == ("2026-11-01", "1180")

    # But what it lost is, to the megawatt, what a new row at the same address has: that is for a person to decide.
    assert "'OpenAI Stargate Abilene' shrank by 941 MW, and 'Crusoe Abilene Expansion', new at its address" in questions
    assert "(exactly what it lost): was it split?" in questions

    # A rename is proposed, and its row waits.
    rename = "'xAI Colossus 1' is gone, and 'Colossus 1' has its words and has its address: is it the same?"
    assert rename in questions
    assert '      was = "xAI Colossus 1"\n      now = "Colossus 1"' in second.out
    assert (await service.client.get("/v1/deals/epoch-colossus-1")).status_code == 404
    assert await power(service, "epoch-xai-colossus-1") == "498", "absence is no withdrawal"

    # Power of IT stands to power by one factor: what a redefinition of the column would look like.
    assert "'IT power (MW)' stands to the power that is held by one factor, 0.833 (1 : 1.20)" in questions
    # The column that is read was not redefined: the same plans have the same figures.
    assert "was redefined" not in questions
    assert await power(service, "epoch-amazon-ridgeland") == "1008"

    # Nothing is ever withdrawn, dropped or left because a newer sheet does not say it.
    log = (await service.client.get("/v1/events", params={"limit": 1000})).json()["events"]
    kinds = Counter(event["type"] for event in log)
    assert not {"site_dropped", "pledge_withdrawn", "party_left", "stage_changed", "milestone_cancelled"} & kinds.keys()
    assert kinds["site_revised"] >= 2

    # The same sheets again change nothing, whichever.
    recorded = await service.size()
    assert recorded > size
    for day in (MAY, DECEMBER):
        assert (await vintage(day, folder=folder)).out.splitlines()[-1].startswith("0 recorded, 0 known already")
    assert await service.size() == recorded


async def test_what_people_decided_is_recorded(service: Service, vintage: Import, tmp_path: Path) -> None:
    await vintage(DECEMBER)
    mapping = tmp_path / "decided.toml"
    mapping.write_text(
        MAPPING.read_text("utf-8")
        + """
[[same]]
was = "xAI Colossus 1"
now = "Colossus 1"

[[split]]
was = "OpenAI Stargate Abilene"
into = ["OpenAI Stargate Abilene", "Crusoe Abilene Expansion"]
note = "Built as its expansion; Microsoft took it over."
""",
        "utf-8",
    )
    second = await vintage(MAY, mapping=mapping)
    assert not [q for q in asked(second) if "the same?" in q or "split?" in q]

    colossus = await state(service, "epoch-xai-colossus-1")
    assert (colossus["title"], colossus["sites"][0]["power_mw"]) == ({"en": "Colossus 1", "ko": None}, "442")
    assert (await state(service, "epoch-xai-colossus-1", effective_on="2026-05-19"))["title"] == {
        "en": "xAI Colossus 1",
        "ko": None,
    }
    [relation] = (await state(service, "epoch-crusoe-abilene-expansion"))["relations"]
    assert (relation["relation"], relation["deal"]) == ("separate_from", "epoch-openai-stargate-abilene")
    assert (await vintage(MAY, mapping=mapping)).out.splitlines()[-1].startswith("0 recorded, 0 known already")


def test_the_excerpt_is_small_and_attributed() -> None:
    files = list(EXCERPT.glob("*.csv"))
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) < 4_000
    attribution = (EXCERPT / "ATTRIBUTION.md").read_text("utf-8")
    assert "Epoch AI" in attribution
    assert "CC BY 4.0" in attribution


# --- made-up sheets, one case each ------------------------------------------------------------------------------------


async def test_one_name_that_became_several_is_asked_as_a_split(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "QTS Richmond,900,,QTS", "Elsewhere,5,,")
    rows = ["QTS Richmond 1,500,,QTS", "QTS Richmond 2,400,,QTS", "Elsewhere,5,,"]
    ran = await plants.on("2026-05-20", *rows)
    assert asked(ran) == [
        "plants!A2: 'QTS Richmond' is gone, and 'QTS Richmond 1', 'QTS Richmond 2' begin like it: was it split?"
    ]
    assert ran.out.splitlines()[-1] == "0 recorded, 0 known already; 1 questions"

    decided = '[[split]]\nwas = "QTS Richmond"\ninto = ["QTS Richmond 1", "QTS Richmond 2"]\n'
    assert asked(await plants.on("2026-05-20", *rows, decided=decided)) == []
    for part in ("t-qts-richmond-1", "t-qts-richmond-2"):
        [relation] = (await state(service, part))["relations"]
        assert (relation["relation"], relation["deal"]) == ("supersedes", "t-qts-richmond")
    assert await power(service, "t-qts-richmond") == "900"


async def test_a_column_that_moved_by_one_factor_is_no_growth(service: Service, plants: Plants) -> None:
    sizes = {"A": 100, "B": 250, "C": 40, "D": 75}
    await plants.on("2025-12-15", *(f"{name},{mw},," for name, mw in sizes.items()), "E,10,,")
    rows = [*(f"{name},{mw * 1.2},," for name, mw in sizes.items()), "E,30,,"]
    [question] = asked(await plants.on("2026-05-20", *rows))
    assert question.startswith(
        "power_mw: power_mw moved by one factor, 1.200, in 4 of 5 rows: its column was redefined"
    )
    assert [await power(service, f"t-{name}") for name in "abcde"] == ["100", "250", "40", "75", "30"]

    decided = '[[redefined]]\nfield = "power_mw"\nfactor = "1.2"\nnote = "with cooling since 2026"\nrecord = "{}"\n'
    assert asked(await plants.on("2026-05-20", *rows, decided=decided.format("leave"))) == []
    assert await power(service, "t-a") == "100"
    ran = await plants.on("2026-05-20", *rows, decided=decided.format("correction"))
    assert ran.out == "4 recorded, 0 known already; 0 questions\n"
    assert [await power(service, f"t-{name}") for name in "abcde"] == ["120", "300", "48", "90", "30"]
    # The past reads anew, and nothing grew.
    assert await power(service, "t-a", effective_on="2025-12-15") == "120"
    between = {"from.effective_on": "2025-12-15", "to.effective_on": "2026-05-20"}
    world = {}
    for name in "ae":
        compared = (await service.client.get(f"/v1/deals/t-{name}/compare", params=between)).json()
        world[name] = [change["field"] for change in compared["world"]]
    assert world == {"a": [], "e": ["/sites/site/power_mw"]}
    again = await plants.on("2026-05-20", *rows, decided=decided.format("correction"))
    assert again.out == "0 recorded, 0 known already; 0 questions\n"


async def test_a_row_that_is_gone_is_listed_and_stays(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,", "B,5,,")
    ran = await plants.on("2026-05-20", "B,5,,")
    assert asked(ran) == ["t-a: 'A' has no row any more. That is no withdrawal: it stays as it was."]
    assert await power(service, "t-a") == "100"


async def test_what_looks_like_a_rename_may_be_two_things(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "xAI One,100,1 Main St,xAI")
    [question] = asked(await plants.on("2026-05-20", "One,50,9 Side St,xAI"))
    assert "has its words and has its owner" in question
    decided = '[[different]]\nwas = "xAI One"\nnow = "One"\n'
    [question] = asked(await plants.on("2026-05-20", "One,50,9 Side St,xAI", decided=decided))
    assert "has no row any more" in question
    assert await power(service, "t-one") == "50"


async def test_zero_and_silence_are_unknown(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,", "B,0,,")
    assert await power(service, "t-b") is None
    ran = await plants.on("2026-05-20", "A,,,", "B,7,,")
    assert asked(ran) == ["plants!A2: 'A' no longer says its power_mw, 100: unknown is not zero"]
    assert [await power(service, slug) for slug in ("t-a", "t-b")] == ["100", "7"]


async def test_an_owner_that_is_no_longer_named_has_not_left(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,Alpha")
    ran = await plants.on("2026-05-20", 'A,100,,"Beta"')
    assert asked(ran) == ["plants!A2: 'A' no longer names alpha as investor: nobody said that it left"]
    parties = (await state(service, "t-a"))["parties"]
    assert [(p["organization"], p["left_on"]) for p in parties] == [("alpha", None), ("beta", None)]


async def test_what_another_source_said_is_not_overwritten(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,")
    said = {
        "effective_on": "2026-01-01",
        "sources": [{"publisher": "The Example Times", "published_on": "2026-01-01"}],
        "event": {"type": "site_revised", "site": "site", "power_mw": "150"},
    }
    assert (await service.client.post("/v1/deals/t-a/events", json=said)).status_code == 201
    ran = await plants.on("2026-05-20", "A,100,,")
    assert asked(ran) == ["plants!B2: 'A' has power_mw 100; 150 is held on another source's word"]
    assert await power(service, "t-a") == "150"


async def test_an_older_sheet_on_top_of_a_newer_one_is_refused(service: Service, plants: Plants) -> None:
    await plants.on("2026-05-20", "A,100,,")
    ran = await plants.on("2025-12-15", "A,90,,")
    assert (ran.code, await power(service, "t-a")) == (5, "100")
    assert ran.err.lstrip().startswith(
        "plants!A2: 'A' is recorded from a later day: import the older sheets of a tracker first\n"
    )


async def test_every_cell_that_is_wrong_is_told_and_nothing_sent(service: Service, plants: Plants) -> None:
    rows = ["A,much,x,Korea", "A,5,x,", ",5,x,", "B,5,Atlantis,2.5"]
    ran = await plants.on("2026-05-20", *rows, header="Name,MW,Country,GPUs")
    assert [line for line in ran.err.splitlines() if line.startswith("plants!")] == [
        "plants!C2: place: 'x' is no ISO 3166 country or subdivision: name it under [places]",
        "plants!B2: power_mw: 'much' is no figure",
        "plants!D2: gpus: 'Korea' is no figure",
        "plants!A3: 'A' stands at plants!A2 already",
        "plants!A4: the row has no name",
        "plants!C5: place: 'Atlantis' is no ISO 3166 country or subdivision: name it under [places]",
        "plants!D5: gpus: '2.5' is no whole number",
    ]
    assert (ran.code, await service.size()) == (5, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[sheets", "no TOML"),
        ('[source]\npublisher = "P"\n[sheets]\n[deal]\nname = "N"\nslug = "t-"', "which sheet"),
        (MADE_UP + "[colums]\n", "unknown field `colums`"),
        (MADE_UP.replace('"t-"', '"T"'), "slug"),
    ],
)
def test_a_mapping_that_cannot_be_used_says_why(text: str, why: str) -> None:
    with pytest.raises(BadMapping, match=why):
        mappings.read(text)


def test_the_shipped_mapping_can_be_read() -> None:
    assert mappings.read(MAPPING.read_text("utf-8")).deal.slug == "epoch-"


def test_one_factor_is_that_of_most() -> None:
    factors = {"a": Decimal("1.2"), "b": Decimal("1.201"), "c": Decimal(1), "d": Decimal(3)}
    factor, which = one_factor(factors)
    assert factor in (Decimal("1.2"), Decimal("1.201"))
    assert which == ["a", "b"]
    assert one_factor({"a": Decimal(1), "b": Decimal("1.001")}) == (None, [])


def test_slugs_are_made_of_letters_and_digits() -> None:
    assert slugified("Google Council Bluffs (East)") == "google-council-bluffs-east"
    assert slugified("Électricité – №1") == "electricite-no1"
