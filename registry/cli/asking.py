"""What commands that ask the service share: the point in time, its address, and output as tables or JSON.

Each option is described once. A command prints tables on a terminal, JSON otherwise or with --json.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from registry.cli.client import Url, find_each, get, segment
from registry.cli.headings import heading
from registry.cli.options import AsJson, show_options
from registry.cli.texts import language, plain_spaces
from registry.events.values import text_in
from registry.schemas.deal_query import DESCRIBED_FILTERS, DealQuery

AsTable = Annotated[bool, typer.Option("--table", help="Print tables, also without a terminal.")]

AXES: dict[str, tuple[Any, str]] = {
    "effective_on": (str, "Effective date (default: today in the registry's time zone)."),
    "published_on": (str, "As published by this date."),
    "recorded_at": (str, "As recorded by this time."),
    "position": (int, "Up to this position of the log."),
}
"""The options of a point in time: their types and help."""

MAX_TITLES = 20
"""The most related deals whose titles a table asks for."""

POINT = tuple(AXES)
COMPARED_POINTS = tuple(f"{end}.{axis}" for end in ("from", "to") for axis in AXES)


def _only(description: str) -> str:
    """The help of an option from the description of the parameter."""
    return f"Only {description[0].lower()}{description[1:]}"


_HELP = {
    "q": "Only deals with these words in names, places, parties, sources or identifiers.",
    "organization": "Only deals of this organization.",
    "role": "Only deals with a party in this role; with --organization, that one.",
    "share_min": "Only deals with a party whose share is at least so many percent.",
    "share_max": "Only deals with a party whose share is at most so many percent.",
    "region": "Only deals with a site in this region (ISO 3166).",
    "extent": "With --region: within (no site elsewhere), beyond, country (no more is stated) or unstated.",
    "commitment": "Only deals with a pledge of this commitment level.",
    "classification": "Only deals with this code, as AXIS:CODE.",
    "identifier": "Only the deal with this identifier, as SCHEME:VALUE.",
    "metric": "Only deals for which this quantity is stated, such as jobs, gpus or power_mw.",
    "metric_basis": "With --metric: planned, actual or target.",
    "metric_min": "With --metric: only deals with at least so much of it, sites together.",
    "metric_max": "With --metric: only deals with at most so much of it, sites together.",
    "metric_unit": "With --metric=capacity_per_year: in this unit.",
    "currency": "Only deals with a pledge in this currency.",
    "amount_min": "Only deals with a pledge of at least this amount in that currency.",
    "amount_max": "Only deals with a pledge of at most this amount in that currency.",
    "updated_since": "Only deals with an event that was recorded then or later.",
}
"""The help of the options of filters; that of the others is the description of the parameter."""

FILTERS = {
    name: (
        "--search" if name == "q" else f"--{name.replace('_', '-')}",
        _HELP[name] if name in _HELP else _only(DESCRIBED_FILTERS[name][1]),
    )
    for name in (*DealQuery.__struct_fields__, "updated_since")
}
"""The options of the filters of lists, by the name of the parameter: the flag and its help."""

FILTERS_OF_TOTALS = tuple("pledged_in" if name == "currency" else name for name in FILTERS)
"""The same of totals, where `currency` is what amounts are converted to."""

_OPTIONS = FILTERS | {"pledged_in": ("--pledged-in", "Only deals with a pledge in this currency.")}


class Question(Struct, frozen=True):
    """What a command asks: the service's address, the point in time, and how the answer is printed."""

    url: str
    point: dict[str, Any]
    as_json: bool
    as_table: bool

    def get(self, path: str, **parameters: Any) -> Any:
        """The service's answer at the point, unless a parameter names another one."""
        return get(self.url, path, **{**self.point, **parameters})

    def titles(self, deals: Iterable[str]) -> dict[str, str]:
        """The present titles of deals by `deal/SLUG`, as far as the service tells them: a table shows slugs instead."""
        asked = sorted(deals)[:MAX_TITLES]
        states = find_each(self.url, (f"/v1/deals/{segment(deal)}" for deal in asked)) if asked else ()
        return {
            f"deal/{deal}": text_in(state["title"], language.get()) or deal
            for deal, state in zip(asked, states, strict=False)
            if state is not None
        }

    def print_json(self, found: Any, *, always: bool = False) -> bool:
        """Print JSON unless tables are wanted; whether it was printed."""
        if not always and (self.as_table or (sys.stdout.isatty() and not self.as_json)):
            return False
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return True


def with_point(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the named options of a point in time. Its parameter `point` gets what the API takes.

    An option of a comparison is named as the API names its parameter: `from.position` is `--from-position`.
    """
    options = {name.replace(".", "_"): name for name in names}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            point = {name: given.pop(option) for option, name in options.items()}
            function(point=point, **given)

        show_options(run, function, "point", {option: (_option(name), None) for option, name in options.items()})
        return run

    return decorate


def with_filters(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options for these filters of lists. Its parameter `filters` gets those that are given."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            filters = {name: value for name in names if (value := given.pop(name)) is not None}
            function(filters=filters, **given)

        options = {
            name: (Annotated[str | None, typer.Option(flag, help=help, show_default=False)], None)
            for name, (flag, help) in _OPTIONS.items()
            if name in names
        }
        show_options(run, function, "filters", options)
        return run

    return decorate


def asking(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the named options of a point in time, and those of the service and the output.

    Its parameter `question` gets them.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(point: dict[str, Any], url: str, as_json: bool, as_table: bool, **given: Any) -> None:
            function(question=Question(url, point, as_json, as_table), **given)

        output = {"url": (Url, ""), "as_json": (AsJson, False), "as_table": (AsTable, False)}
        show_options(run, function, "question", {"point": (dict[str, Any], None), **output})
        return with_point(*names)(run)

    return decorate


def _option(name: str) -> Any:
    """The type of the option for an axis of a point in time, or of one of two that are compared."""
    type, help = AXES[name.rpartition(".")[2]]
    flag = "--" + name.replace(".", "-").replace("_", "-")
    return Annotated[type | None, typer.Option(flag, help=help, show_default=False)]


def print_table(title: str | None, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table, below a title."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if title:
        console.print(title, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(heading(column), overflow="fold")
    for row in rows:
        table.add_row(*("–" if value is None else escape(plain_spaces(str(value))) for value in row.values()))
    console.print(table)
