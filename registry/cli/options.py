"""Options that commands share: the settings as flags, and output as a table or JSON."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import registry
from registry.cli import texts
from registry.cli.headings import cell, heading
from registry.cli.texts import Text, rendered
from registry.i18n import DEFAULT_LANGUAGE, LANGUAGES
from registry.infra.settings import SETTINGS, Settings, flag, variable

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, also on a terminal.")]

stderr = Console(stderr=True, highlight=False)


def with_settings(*names: str, **defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the named settings as flags (all settings if none is named).

    The command's parameter `settings` gets them; its other parameters stay as they are. `defaults` are the command's
    own values of settings that are neither flags nor in the environment.
    """
    own_environment = {variable(name): value for name, value in defaults.items()}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        chosen = names or tuple(SETTINGS)

        @functools.wraps(function)
        def run(**given: Any) -> None:
            flags = {name: given.pop(name) for name in chosen}
            function(settings=Settings.read({**own_environment, **os.environ}, **flags), **given)

        show_options(run, function, "settings", {name: (Annotated[str | None, _option(name)], None) for name in chosen})
        return run

    return decorate


def show_options(
    run: Callable[..., None], function: Callable[..., None], replaced: str, added: dict[str, tuple[Any, Any]]
) -> None:
    """Give `run` the parameters of `function`, with those of `added`, their types and defaults, instead of `replaced`.

    Typer reads the options of a command from its signature.
    """
    kind = inspect.Parameter.KEYWORD_ONLY
    own = inspect.signature(function, eval_str=True).parameters
    parameters = [
        *(parameter.replace(kind=kind) for name, parameter in own.items() if name != replaced),
        *(inspect.Parameter(name, kind, default=default, annotation=type) for name, (type, default) in added.items()),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _option(name: str) -> Any:
    return typer.Option(flag(name), help=f"{SETTINGS[name].help} [{variable(name)}]", show_default=False)


def show(rows: Sequence[dict[str, Any]], *, as_json: bool = False) -> None:
    """Print rows: a table on a terminal, a JSON list otherwise."""
    if as_json or not sys.stdout.isatty():
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(heading(column), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, value) for column, value in row.items()))
    Console(highlight=False).print(table)


def _cell(column: str, value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{name}={one if isinstance(one, str) else ' '.join(one)}" for name, one in value.items())
    elif isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    return "–" if value in (None, "") else cell(column, value)


def progress_bar() -> Progress:
    """A progress bar on standard error with the number of completed items."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=stderr)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"registry {registry.version()}")
        raise typer.Exit


def _set_language(language: str) -> str:
    if language not in LANGUAGES:
        raise typer.BadParameter(rendered(Text("language_unknown", language=language, known=tuple(LANGUAGES))))
    texts.language.set(language)
    return language


def common_options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    lang: Annotated[
        str,
        typer.Option(
            envvar="REGISTRY_LANG",
            is_eager=True,
            callback=_set_language,
            metavar="|".join(LANGUAGES),
            help="Language of help, messages and errors; before or after the command's name. [REGISTRY_LANG]",
            show_envvar=False,
        ),
    ] = DEFAULT_LANGUAGE,
) -> None:
    """Options of the command itself, before any subcommand."""
