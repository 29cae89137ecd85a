"""A mapping as a form: what the form is sent with is the same mapping as the TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.imports.mapping import document, form, form_data
from registry.imports.mapping.parse import check
from registry.imports.mapping.spec import Mapping
from tests.imports.conftest import MAPPINGS

FILES = sorted(MAPPINGS.glob("*.toml"))


def inputs(of: form.MappingForm) -> dict[str, str]:
    """The inputs that the page has for a form."""
    sent = {f"options/{name}": text for name, text in of.options.items()}
    conditions = [*of.skip]
    for block in (*of.sources, of.deal, *of.blocks):
        conditions += block.conditions
        sent[f"{block.at}:on_change"] = block.on_change
        for field in block.fields:
            sent |= {f"{field.at}:column": field.column, f"{field.at}:text": field.text}
            sent |= {f"{field.at}:{name}": text for name, text in field.options.items()}
            for i, (source, meaning) in enumerate(field.table):
                sent |= {f"{field.at}:from.{i}": source, f"{field.at}:to.{i}": meaning}
    for condition in conditions:
        for name in ("column", "join", "equals", "differs", "empty", "future"):
            sent[f"{condition.at}:{name}"] = getattr(condition, name)
    return sent


def meaning_of(text: str) -> dict[str, Any]:
    """A mapping without what only its text has: its digest, the order of keys, and their places in the file."""
    mapping, problems = check(text)
    assert problems == []
    assert isinstance(mapping, Mapping)
    known = {name: msgspec.to_builtins(getattr(mapping, name)) for name in mapping.__struct_fields__}
    ordered = {
        name: [sorted(map(_of_leaf, leaves), key=repr) for leaves in value]
        for name, value in (
            ("sources", mapping.sources),
            ("blocks", [block.leaves for block in mapping.blocks]),
        )
    }
    return {**known, **ordered, "digest": ""}


def _of_leaf(leaf: Any) -> Any:
    return leaf.path, msgspec.to_builtins(leaf.value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_mapping_is_the_same_after_the_form(file: Path) -> None:
    text = file.read_text("utf-8")
    before = tomllib.loads(text)
    after = document.to_toml(form_data.data_of(inputs(form.form_of(before)), before))
    assert meaning_of(after) == meaning_of(text)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_written_mapping_reads_as_it_was(file: Path) -> None:
    data = tomllib.loads(file.read_text("utf-8"))
    assert tomllib.loads(document.to_toml(data)) == data


@pytest.mark.parametrize("text", ['a "quoted" \\ text', "tab\tand\nline", "한글", "\x7f\x01", "{brace}", "x = 1 # no"])
def test_any_text_survives_in_a_written_mapping(text: str) -> None:
    data = {"scheme": text, "deal": {text: {"column": text, "table": {text: text}}}, "site": [{"place": [text]}]}
    assert tomllib.loads(document.to_toml(data)) == data


def test_text_without_a_meaning_is_not_in_the_table_and_a_dash_means_nothing() -> None:
    sent = {"status/0/stage:column": "Status", "status/0/stage:from.0": "Built", "status/0/stage:to.0": "operating"}
    sent |= {"status/0/stage:from.1": "Unknown", "status/0/stage:to.1": "-", "status/0/stage:from.2": "Rumour"}
    sent["status/0/stage:to.2"] = ""
    [status] = form_data.data_of(sent, {})["status"]
    assert status["stage"]["table"] == {"Built": "operating", "Unknown": ""}


def test_parts_that_the_form_does_not_show_stay() -> None:
    joins = {"timelines": {"sheet": "timelines", "key": ["Data center"]}}
    assert form_data.data_of({"options/scheme": "epoch"}, {"joins": joins, "scheme": "x"}) == {
        "scheme": "epoch",
        "joins": joins,
        "deal": {},
    }


def test_problem_stands_at_its_field_or_at_the_whole_mapping() -> None:
    text = (
        'scheme = "x"\nunknown = 1\n[source]\ntitle = "t"\n[deal]\nkey = "ID"\nslug = "x-"\ntitle = { column = "N" }\n'
    )
    text += '[[party]]\norganization = { column = "C" }\nrole = "boss"\n'
    _, problems = check(text)
    shown = form.form_of(tomllib.loads(text), problems)
    [party] = shown.blocks
    assert {field.at: len(field.problems) for field in party.fields} == {
        "party/0/organization": 0,
        "party/0/role": 1,
    }
    assert [problem.code for problem in shown.problems] == ["mapping-unknown"]


def test_column_whose_name_has_the_separator_is_one_column() -> None:
    sent = {"site/0/site:text": "site", "site/0/place:column": "State | Province"}
    whole = form_data.data_of(sent, {}, ["State | Province"])["site"][0]["place"]
    assert whole == {"column": "State | Province"}
    assert form_data.data_of(sent, {})["site"][0]["place"] == {"column": ["State", "Province"]}
