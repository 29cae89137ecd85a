"""A tracker's sheets: changes are recorded, ambiguous changes become questions, a missing row withdraws nothing."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from registry.errors import BadMapping
from registry.imports import mapping as mappings
from registry.imports.messages import ImportText
from registry.imports.tracker.redefinition import common_factor
from registry.imports.tracker.values import slugify
from tests.api.conftest import Service
from tests.imports.conftest import DECEMBER, EXCERPT, MAPPING, MAY, Import, ImportRun

# The tracker's complete files, if a folder beside the checkout has them.
COMPLETE = [file.parent for file in Path(__file__).parents[3].glob(f"*/data/epoch/{DECEMBER[:7]}_centers.csv")]

FOLDERS = [EXCERPT, *COMPLETE]

MAPPING_OF_PLANTS = """
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


async def state(service: Service, slug: str, **as_of: str) -> dict[str, Any]:
    response = await service.client.get(f"/v1/deals/{slug}", params=as_of)
    assert response.status_code == 200, response.text
    deal: dict[str, Any] = response.json()
    return deal


async def power(service: Service, slug: str, **as_of: str) -> str | None:
    power_mw: str | None = (await state(service, slug, **as_of))["sites"][0]["power_mw"]
    return power_mw


class Plants:
    """An invented tracker with one sheet, imported day by day."""

    def __init__(self, import_: Import, folder: Path) -> None:
        self._import = import_
        self._folder = folder

    async def on(self, day: str, *rows: str, decided: str = "", header: str = "Name,MW,Address,Owner") -> ImportRun:
        sheet, mapping = self._folder / "plants.csv", self._folder / "plants.toml"
        sheet.write_text("\n".join([header, *rows]), "utf-8")
        mapping.write_text(MAPPING_OF_PLANTS + decided, "utf-8")
        return await self._import(sheet, mapping=mapping, published_on=day)


@pytest.fixture
def plants(import_: Import, tmp_path: Path) -> Plants:
    return Plants(import_, tmp_path)


# --- Epoch AI's frontier data centers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_two_vintages_of_a_tracker_become_a_history(service: Service, vintage: Import, folder: Path) -> None:
    """December 2025, then May 2026: reduced plans, renames, a split and two columns of power are distinguished."""
    first = await vintage(DECEMBER, folder=folder)
    assert first.code == 0, first.err
    assert first.questions == []
    size = await service.size()
    assert (await vintage(DECEMBER, folder=folder)).results == []

    second = await vintage(MAY, folder=folder)
    assert second.code == 0, second.err

    # A reduced plan is a real-world change from the day of the sheet.
    abilene = "epoch-openai-stargate-abilene"
    assert await power(service, abilene, effective_on="2026-05-19") == "2121"
    assert await power(service, abilene, effective_on=MAY) == "1180"
    between = {"from.effective_on": DECEMBER, "to.effective_on": MAY}
    compared = (await service.client.get(f"/v1/deals/{abilene}/compare", params=between)).json()
    [change] = [c for c in compared["world"] if c["field"] == "/sites/campus/power_mw"]
    assert (change["before"], change["after"]) == ("2121", "1180")
    assert change["causes"][0]["type"] == "site_revised"
    assert change["causes"][0]["sources"][0]["publisher"] == "Epoch AI"
    # The planned date of completion moved, too.
    [step] = (await state(service, abilene, effective_on=MAY))["milestones"]
    assert (step["planned"], step["power_mw"]) == ("2026-11-01", "1180")

    # A new row at the same address has exactly the capacity that the plan lost: only an editor can tell a split.
    assert accepts(second, "split") >= {
        '[[split]]\nwas = "OpenAI Stargate Abilene"\ninto = ["OpenAI Stargate Abilene", "Crusoe Abilene Expansion"]'
    }

    # The new row of a possible rename is not recorded before the answer.
    assert '[[same]]\nwas = "xAI Colossus 1"\nnow = "Colossus 1"' in accepts(second, "renamed")
    assert (await service.client.get("/v1/deals/epoch-colossus-1")).status_code == 404
    assert await power(service, "epoch-xai-colossus-1") == "498", "a missing row is not a withdrawal"

    # The new column of IT power differs from the recorded power by one factor; the mapped column was not redefined.
    kinds_asked = [kind for kind, _ in second.asked]
    assert kinds_asked.count("column") == 1
    assert "redefined" not in kinds_asked
    assert await power(service, "epoch-amazon-ridgeland") == "1008"

    # A newer sheet that omits something withdraws, drops or ends nothing.
    log = (await service.client.get("/v1/events", params={"limit": 1000})).json()["events"]
    kinds = Counter(event["type"] for event in log)
    assert not {"site_dropped", "pledge_withdrawn", "party_left", "stage_changed", "milestone_cancelled"} & kinds.keys()
    assert kinds["site_revised"] >= 2

    # Importing the same sheets again records nothing, in whichever order.
    recorded = await service.size()
    assert recorded > size
    for day in (MAY, DECEMBER):
        assert (await vintage(day, folder=folder)).results == []
    assert await service.size() == recorded


def accepts(run: ImportRun, kind: str) -> set[str | None]:
    return {question.accept for question in run.questions if question.kind == kind}


async def test_decisions_in_the_mapping_are_recorded(service: Service, vintage: Import, tmp_path: Path) -> None:
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
    assert not {"renamed", "split"} & {kind for kind, _ in second.asked}

    colossus = await state(service, "epoch-xai-colossus-1")
    assert (colossus["title"], colossus["sites"][0]["power_mw"]) == ({"en": "Colossus 1", "ko": None}, "442")
    assert (await state(service, "epoch-xai-colossus-1", effective_on="2026-05-19"))["title"] == {
        "en": "xAI Colossus 1",
        "ko": None,
    }
    [relation] = (await state(service, "epoch-crusoe-abilene-expansion"))["relations"]
    assert (relation["relation"], relation["deal"]) == ("separate_from", "epoch-openai-stargate-abilene")
    assert (await vintage(MAY, mapping=mapping)).results == []


def test_excerpt_is_small_and_attributed() -> None:
    files = list(EXCERPT.glob("*.csv"))
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) < 4_000
    attribution = (EXCERPT / "ATTRIBUTION.md").read_text("utf-8")
    assert "Epoch AI" in attribution
    assert "CC BY 4.0" in attribution


# --- invented sheets, one case each -----------------------------------------------------------------------------------


async def test_names_that_start_with_a_missing_name_are_asked_as_a_split(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "QTS Richmond,900,,QTS", "Elsewhere,5,,")
    rows = ["QTS Richmond 1,500,,QTS", "QTS Richmond 2,400,,QTS", "Elsewhere,5,,"]
    run = await plants.on("2026-05-20", *rows)
    split = '[[split]]\nwas = "QTS Richmond"\ninto = ["QTS Richmond 1", "QTS Richmond 2"]'
    assert run.asked == [("split", "plants!A2")]
    assert (run.questions[0].accept, run.results) == (split, [])

    assert (await plants.on("2026-05-20", *rows, decided=split)).questions == []
    for part in ("t-qts-richmond-1", "t-qts-richmond-2"):
        [relation] = (await state(service, part))["relations"]
        assert (relation["relation"], relation["deal"]) == ("supersedes", "t-qts-richmond")
    assert await power(service, "t-qts-richmond") == "900"


async def test_smaller_plan_and_new_row_at_its_address_are_asked_as_a_split(plants: Plants) -> None:
    await plants.on("2025-12-15", "Campus,900,1 Main St,")
    exact = await plants.on("2026-05-20", "Campus,500,1 Main St,", "Annex,400,1 Main St,")
    assert exact.asked == [("split", "plants!A3")]
    decided = '[[different]]\nwas = "Campus"\nnow = "Annex"\n'
    assert (await plants.on("2026-05-20", "Campus,500,1 Main St,", "Annex,400,1 Main St,", decided=decided)).asked == []


async def test_smaller_plan_and_new_row_of_another_size_are_asked_as_a_split(plants: Plants) -> None:
    await plants.on("2025-12-15", "Campus,900,1 Main St,")
    run = await plants.on("2026-05-20", "Campus,500,1 Main St,", "Annex,70,1 Main St,")
    assert run.asked == [("split", "plants!A3")]
    assert "70" in run.questions[0].text


async def test_column_that_changed_by_one_factor_is_not_growth(service: Service, plants: Plants) -> None:
    sizes = {"A": 100, "B": 250, "C": 40, "D": 75}
    await plants.on("2025-12-15", *(f"{name},{mw},," for name, mw in sizes.items()), "E,10,,")
    rows = [*(f"{name},{mw * 1.2},," for name, mw in sizes.items()), "E,30,,"]
    assert (await plants.on("2026-05-20", *rows)).asked == [("redefined", "power_mw")]
    assert [await power(service, f"t-{name}") for name in "abcde"] == ["100", "250", "40", "75", "30"]

    decided = '[[redefined]]\nfield = "power_mw"\nfactor = "1.2"\nnote = "with cooling since 2026"\nrecord = "{}"\n'
    assert (await plants.on("2026-05-20", *rows, decided=decided.format("leave"))).questions == []
    assert await power(service, "t-a") == "100"
    corrected = await plants.on("2026-05-20", *rows, decided=decided.format("correction"))
    assert (corrected.recorded, corrected.known, corrected.questions) == (4, 0, [])
    assert [await power(service, f"t-{name}") for name in "abcde"] == ["120", "300", "48", "90", "30"]
    # The past values are corrected, and there is no real-world change.
    assert await power(service, "t-a", effective_on="2025-12-15") == "120"
    between = {"from.effective_on": "2025-12-15", "to.effective_on": "2026-05-20"}
    world = {}
    for name in "ae":
        compared = (await service.client.get(f"/v1/deals/t-{name}/compare", params=between)).json()
        world[name] = [change["field"] for change in compared["world"]]
    assert world == {"a": [], "e": ["/sites/site/power_mw"]}
    again = await plants.on("2026-05-20", *rows, decided=decided.format("correction"))
    assert (again.results, again.questions) == ([], [])


async def test_deal_whose_row_is_gone_is_asked_and_stays(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,", "B,5,,")
    assert (await plants.on("2026-05-20", "B,5,,")).asked == [("gone", "t-a")]
    assert await power(service, "t-a") == "100"


async def test_possible_rename_may_be_decided_as_two_deals(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "xAI One,100,1 Main St,xAI")
    assert (await plants.on("2026-05-20", "One,50,9 Side St,xAI")).asked == [("renamed", "plants!A2")]
    decided = '[[different]]\nwas = "xAI One"\nnow = "One"\n'
    assert (await plants.on("2026-05-20", "One,50,9 Side St,xAI", decided=decided)).asked == [("gone", "t-xai-one")]
    assert await power(service, "t-one") == "50"


async def test_zero_and_empty_cells_are_unknown_values(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,", "B,0,,")
    assert await power(service, "t-b") is None
    assert (await plants.on("2026-05-20", "A,,,", "B,7,,")).asked == [("silent", "plants!A2")]
    assert [await power(service, slug) for slug in ("t-a", "t-b")] == ["100", "7"]


async def test_owner_that_is_no_longer_named_has_not_left(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,Alpha")
    assert (await plants.on("2026-05-20", 'A,100,,"Beta"')).asked == [("silent", "plants!A2")]
    parties = (await state(service, "t-a"))["parties"]
    assert [(p["organization"], p["left_on"]) for p in parties] == [("alpha", None), ("beta", None)]


async def test_value_of_another_source_is_not_overwritten(service: Service, plants: Plants) -> None:
    await plants.on("2025-12-15", "A,100,,")
    revision = {
        "effective_on": "2026-01-01",
        "sources": [{"publisher": "The Example Times", "published_on": "2026-01-01"}],
        "event": {"type": "site_revised", "site": "site", "power_mw": "150"},
    }
    assert (await service.client.post("/v1/deals/t-a/events", json=revision)).status_code == 201
    assert (await plants.on("2026-05-20", "A,100,,")).asked == [("elsewhere", "plants!B2")]
    assert await power(service, "t-a") == "150"


async def test_older_sheet_after_a_newer_one_is_rejected(service: Service, plants: Plants) -> None:
    await plants.on("2026-05-20", "A,100,,")
    run = await plants.on("2025-12-15", "A,90,,")
    assert (run.code, await power(service, "t-a")) == (5, "100")
    assert error_cells(run) == ["plants!A2"]


def error_cells(run: ImportRun) -> list[str]:
    return [line.split(": ")[0] for line in run.err.splitlines() if line.startswith("plants!")]


async def test_wrong_cells_are_all_reported_and_nothing_is_sent(service: Service, plants: Plants) -> None:
    rows = ["A,much,x,Korea", "A,5,x,", ",5,x,", "B,5,Atlantis,2.5", "가,5,KR,"]
    run = await plants.on("2026-05-20", *rows, header="Name,MW,Country,GPUs")
    cells = ["C2", "B2", "D2", "A3", "A4", "C5", "D5", "A6"]
    assert error_cells(run) == [f"plants!{cell}" for cell in cells]
    assert (run.code, await service.size()) == (5, 0)


async def test_sheets_that_the_mapping_does_not_fit_are_rejected(service: Service, plants: Plants) -> None:
    run = await plants.on("2026-05-20", "A,5", header="Title,MW")
    assert (run.code, error_cells(run)) == (5, ["plants!A1"])
    run = await plants.on(
        "2026-05-20", "A,5", decided='[[milestone]]\nmilestone = "m"\nkind = "power_on"\nplanned = "MW"\n'
    )
    assert (run.code, error_cells(run)) == (5, ["plants!B2"])
    assert await service.size() == 0


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[sheets", "mapping-not-toml"),
        ('[source]\npublisher = "P"\n[sheets]\n[deal]\nname = "N"\nslug = "t-"', "mapping-without-things"),
        (MAPPING_OF_PLANTS + "[colums]\n", "mapping-invalid"),
        (MAPPING_OF_PLANTS.replace('"t-"', '"T"'), "mapping-invalid"),
    ],
)
def test_unusable_mapping_is_rejected_with_the_reason(text: str, code: str) -> None:
    with pytest.raises(BadMapping) as caught:
        mappings.parse(text)
    reason = caught.value.params["reason"]
    assert isinstance(reason, ImportText)
    assert reason.code == code


def test_mapping_in_the_docs_is_valid() -> None:
    assert mappings.parse(MAPPING.read_text("utf-8")).deal.slug == "epoch-"


def test_common_factor_is_that_of_most_values() -> None:
    factors = {"a": Decimal("1.2"), "b": Decimal("1.201"), "c": Decimal(1), "d": Decimal(3)}
    factor, keys = common_factor(factors)
    assert factor in (Decimal("1.2"), Decimal("1.201"))
    assert keys == ["a", "b"]
    assert common_factor({"a": Decimal(1), "b": Decimal("1.001")}) == (None, [])


def test_slug_consists_of_letters_and_digits() -> None:
    assert slugify("Google Council Bluffs (East)") == "google-council-bluffs-east"
    assert slugify("Électricité – №1") == "electricite-no1"
