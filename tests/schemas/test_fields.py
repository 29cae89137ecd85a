"""Every field of a deal and of an organization is in the responses, on the pages and in the CLI, or is excepted here.

A field that is added to a state and forgotten elsewhere fails one of these tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import jinja2
import pytest
from jinja2 import nodes
from msgspec import Struct
from msgspec.structs import fields

import registry
from registry.cli.asking import FILTERS, FILTERS_OF_TOTALS
from registry.client.parameters import SearchFilters
from registry.domain.assessment import Assessment
from registry.domain.checks.plausibility import Flag
from registry.domain.deal import (
    Deal,
    IncentiveState,
    MetricState,
    MilestoneState,
    PartyState,
    PledgeState,
    SetbackState,
    SiteState,
)
from registry.domain.fold.items import item_types
from registry.domain.organizations.organization import Organization
from registry.events.values import Amount, EventPart, StatedAmount
from registry.exports import COLUMNS, Kind
from registry.formatting.language import words
from registry.http.filters import totals_parameters
from registry.i18n import DEFAULT_LANGUAGE
from registry.schemas import (
    AssessmentResponse,
    DealFields,
    FlagResponse,
    LoggedEvent,
    OrganizationFields,
    StatedAmountResponse,
)
from registry.schemas.deal_query import CODE_FILTERS, DealListQuery
from registry.schemas.values import RESPONSE_TYPES
from registry.web.deals.sections import LISTS_WITH_OWN_SECTIONS, OTHER_FIELDS
from registry.web.portfolio.deal_list import BOUNDS, FACETS

PACKAGE = Path(registry.__file__).parent


def structs_in(hint: Any, above: frozenset[type] = frozenset()) -> Iterator[type[Struct]]:
    """The structs that a value of this type is or holds."""
    if isinstance(hint, type) and issubclass(hint, Struct) and hint not in above:
        yield hint
        for field in fields(hint):
            yield from structs_in(field.type, above | {hint})
    for argument in get_args(hint):
        yield from structs_in(argument, above)


COUNTERPARTS: dict[type[Struct], type[Struct]] = {
    **{value: response for value, response in RESPONSE_TYPES.items() if issubclass(value, Struct)},
    StatedAmount: StatedAmountResponse,
    Deal: DealFields,
    Organization: OrganizationFields,
    Assessment: AssessmentResponse,
    Flag: FlagResponse,
}

# The parameters of a flag's text: responses have the text itself.
NOT_IN_RESPONSES = {(Flag, "params")}

STATES: tuple[type[Struct], ...] = tuple(
    dict.fromkeys(s for root in (Deal, Organization) for s in structs_in(root) if not issubclass(s, EventPart))
)


@pytest.mark.parametrize("state", COUNTERPARTS, ids=lambda state: state.__name__)
def test_response_has_every_field_of_the_state(state: type[Struct]) -> None:
    expected = {field.encode_name for field in fields(state) if (state, field.name) not in NOT_IN_RESPONSES}
    assert {field.encode_name for field in fields(COUNTERPARTS[state])} == expected


@pytest.mark.parametrize("state", COUNTERPARTS, ids=lambda state: state.__name__)
def test_response_never_leaves_a_field_out(state: type[Struct]) -> None:
    response = COUNTERPARTS[state]
    assert not response.__struct_config__.omit_defaults
    assert all(field.required for field in fields(response))


@pytest.mark.parametrize("state", [Deal, Organization], ids=lambda state: state.__name__)
def test_state_holds_no_value_without_a_counterpart_that_would_leave_fields_out(state: type[Struct]) -> None:
    for inner in structs_in(state):
        if any(issubclass(part, EventPart) for part in structs_in(inner)):
            assert inner in COUNTERPARTS, inner


# --- exports ----------------------------------------------------------------------------------------------------------

# These are in the JSON of a deal only.
NOT_EXPORTED: set[tuple[type[Struct], str]] = {
    (Deal, "summary"),
    (Deal, "partnerships"),
    (Deal, "conditions"),
    (PledgeState, "purpose"),
    (PledgeState, "claims"),
    (PledgeState, "disbursed"),
    (SiteState, "claims"),
    (MilestoneState, "claims"),
    (MetricState, "claims"),
    (IncentiveState, "claims"),
    (LoggedEvent, "schema"),
    (LoggedEvent, "previous"),
    (LoggedEvent, "content_digest"),
    (LoggedEvent, "salt"),
    (LoggedEvent, "withheld"),
    (LoggedEvent, "proof"),
}


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("deals", Deal),
        ("parties", PartyState),
        ("pledges", PledgeState),
        ("sites", SiteState),
        ("milestones", MilestoneState),
        ("metrics", MetricState),
        ("incentives", IncentiveState),
        ("setbacks", SetbackState),
        ("events", LoggedEvent),
    ],
    ids=str,
)
def test_export_has_every_field(kind: Kind, state: type[Struct]) -> None:
    """A list of a deal has a column in the table of deals, or a table of its own."""
    exported = {column.field or column.name for column in COLUMNS[kind]}
    in_tables = set(COLUMNS) if state is Deal else set()
    missing = {field.name for field in fields(state)} - exported
    assert missing - in_tables == {name for of, name in NOT_EXPORTED if of is state}


def test_table_of_deals_says_who_takes_part_how_and_what_helps_and_hinders() -> None:
    exported = {column.name for column in COLUMNS["deals"]}
    assert {"organizations", "roles", "shares", "places", "incentives", "setbacks"} <= exported


@pytest.mark.parametrize("kind", [kind for kind in COLUMNS if kind != "events"])
def test_exported_amount_has_every_field(kind: Kind) -> None:
    exported = {column.name for column in COLUMNS[kind]}
    if any((column.field or column.name) == "amount" for column in COLUMNS[kind]):
        assert {field.name for field in fields(Amount)} <= exported


# --- filters ----------------------------------------------------------------------------------------------------------


def test_every_filter_is_an_option_of_the_command_and_a_parameter_of_the_client() -> None:
    filters = set(DealListQuery.__struct_fields__)
    assert set(FILTERS) == filters
    assert set(FILTERS_OF_TOTALS) == totals_parameters(dict.fromkeys(filters, "")).keys()
    assert {*SearchFilters.__annotations__} == filters


def test_every_filter_and_facet_has_a_name() -> None:
    named = {name for name in DealListQuery.__struct_fields__ if words(DEFAULT_LANGUAGE).has_label("facet", name)}
    assert named == {*DealListQuery.__struct_fields__} - {"q"}
    assert {*FACETS, *BOUNDS} <= named


# --- pages and the CLI ------------------------------------------------------------------------------------------------

# The history has the days on which an item was first announced. Coordinates are for maps; the pages name the place.
NOT_ON_PAGES: set[tuple[type[Struct], str]] = {
    (MilestoneState, "scheduled_on"),
}


def names_in_templates() -> set[str]:
    """Every attribute that a template reads."""
    environment = jinja2.Environment(extensions=["jinja2.ext.i18n", "jinja2.ext.do"], autoescape=True)
    trees = [environment.parse(path.read_text()) for path in (PACKAGE / "web/templates").glob("*.html")]
    return {node.attr for tree in trees for node in tree.find_all(nodes.Getattr)}


def names_in_code(modules: str) -> set[str]:
    """Every attribute, key and other string in the modules that a pattern finds."""
    names: set[str] = set()
    for path in PACKAGE.glob(modules):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names


def missing(shown: set[str], lists_in_full: Iterable[str]) -> set[tuple[type[Struct], str]]:
    """The fields of states whose names are not among those shown, apart from lists whose items are shown in full."""
    in_full = {item for name, item in item_types(Deal).items() if name in lists_in_full}
    names = {*shown, *lists_in_full}
    return {(s, field.name) for s in STATES if s not in in_full for field in fields(s) if field.name not in names}


def test_pages_show_every_field_of_a_state() -> None:
    in_full = set(item_types(Deal)) - set(LISTS_WITH_OWN_SECTIONS)
    shown = names_in_templates() | names_in_code("web/**/*.py") | names_in_code("formatting/*.py")
    shown |= {*OTHER_FIELDS}
    assert missing(shown, in_full) == NOT_ON_PAGES


def test_show_command_prints_every_field_of_a_deal() -> None:
    shown = names_in_code("cli/query.py") | names_in_code("cli/summaries.py") | {*CODE_FILTERS.values()}
    assert {name for state, name in missing(shown, item_types(Deal)) if state is Deal} == set()
