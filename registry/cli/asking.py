"""What commands that ask the service share: the point in time, its address, and output as tables or JSON.

Each option is described once. A command prints tables on a terminal, JSON otherwise or with --json.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from registry.cli.client import Url, get
from registry.cli.headings import heading
from registry.cli.options import AsJson, show_options

AsTable = Annotated[bool, typer.Option("--table", help="Print tables, also without a terminal.")]

AXES: dict[str, tuple[Any, str]] = {
    "effective_on": (str, "Effective date (default: today in the registry's time zone)."),
    "published_on": (str, "As published by this date."),
    "recorded_at": (str, "As recorded by this time."),
    "position": (int, "Up to this position of the log."),
}
"""The options of a point in time: their types and help."""

POINT = tuple(AXES)
COMPARED_POINTS = tuple(f"{end}.{axis}" for end in ("from", "to") for axis in AXES)


class Question(Struct, frozen=True):
    """What a command asks: the service's address, the point in time, and how the answer is printed."""

    url: str
    point: dict[str, Any]
    as_json: bool
    as_table: bool

    def get(self, path: str, **parameters: Any) -> Any:
        """The service's answer at the point, unless a parameter names another one."""
        return get(self.url, path, **{**self.point, **parameters})

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
        table.add_row(*("–" if value is None else escape(str(value)) for value in row.values()))
    console.print(table)
