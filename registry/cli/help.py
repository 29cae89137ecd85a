"""The help of the command and its errors of usage, in the language of `--lang` or REGISTRY_LANG.

The help is written in English where the commands are. Each paragraph of it is the message id of its translation in
`i18n/locale/LANGUAGE/help.po`, as gettext does it by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from registry.cli import texts
from registry.cli.usage_errors import NO_COMMAND, SIMILAR, TOO_MANY, usage_errors_translated
from registry.i18n import DEFAULT_LANGUAGE, translations

CONTEXT = "help"
"""The context of help texts in the catalogues, which also have the strings of pages."""

FIXED = (
    "ARGUMENTS_PANEL_TITLE",
    "OPTIONS_PANEL_TITLE",
    "COMMANDS_PANEL_TITLE",
    "ERRORS_PANEL_TITLE",
    "DEFAULT_STRING",
    "REQUIRED_LONG_STRING",
    "RICH_HELP",
)
"""Constants of `typer.rich_utils`: the texts that Typer adds to help and to errors of usage."""

USAGE = "Usage:"

_VARIABLE = re.compile(r" \[REGISTRY_\w+\]$")


def message_ids(text: str) -> list[str]:
    """The paragraphs of a help text, each on one line and without the name of its environment variable."""
    return [" ".join(paragraph.split()) for paragraph in _VARIABLE.sub("", text).split("\n\n")]


def translated(text: str) -> str:
    """A help text in the command's language; English where the catalogue lacks it (tests/i18n/test_help.py)."""
    if texts.language.get() == DEFAULT_LANGUAGE:
        return text
    catalogue = translations(texts.language.get())
    variable = _VARIABLE.search(text)
    paragraphs = "\n\n".join(catalogue.pgettext(CONTEXT, paragraph) for paragraph in message_ids(text))
    return paragraphs + (variable[0] if variable else "")


class Command(TyperCommand):
    """A command whose help is in the command's language."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True
        more = super().parse_args(ctx, args)
        if more and not ctx.resilient_parsing:
            ctx.fail(translated(TOO_MANY).format(arguments=" ".join(more)))
        return more

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        _write_usage(self, ctx, formatter)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _translate(self, ctx)
        super().format_help(ctx, formatter)


class CommandGroup(TyperGroup):
    """A group of commands whose help is in the command's language."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            sentence = translated(NO_COMMAND).format(name=name)
            if similar := get_close_matches(name, self.commands):
                sentence += " " + translated(SIMILAR).format(names=", ".join(similar))
            ctx.fail(sentence)
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        _write_usage(self, ctx, formatter)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _translate(self, ctx)
        super().format_help(ctx, formatter)


class Root(CommandGroup):
    """The command itself, which takes `--lang` anywhere."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _errors_translated():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _errors_translated():
            return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = _language_first(args)
        if not args or not args[0].startswith("--lang="):
            # Help takes effect before a language of the environment is read. Without one, nothing is to be read here:
            # Typer imports Pydantic for it, and `--version` does without.
            for option in self.params:
                if option.name == "lang" and option.resolve_envvar_value(ctx):
                    option.handle_parse_result(ctx, {}, [])
        return super().parse_args(ctx, args)


def translate_app(app: typer.Typer) -> None:
    """Let the help of every command of `app` be in the command's language."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        group.cls = CommandGroup
        if group.typer_instance is not None:
            translate_app(group.typer_instance)


def _language_first(args: list[str]) -> list[str]:
    """The arguments with `--lang` first: help takes effect before the options that follow `--help` are read."""
    first, rest = [], []
    remaining = iter(args)
    for arg in remaining:
        if arg == "--":
            rest += [arg, *remaining]
        elif arg == "--lang":
            first.append(f"--lang={next(remaining, '')}")
        elif arg.startswith("--lang="):
            first.append(arg)
        else:
            rest.append(arg)
    return first + rest


class _FoldedText(Text):
    """A text that breaks words longer than a line. Typer's are cut, and so is the last word of full Korean lines."""

    @classmethod
    def from_markup(cls, text: str, **options: Any) -> Text:
        return Text.from_markup(text, **{"overflow": "fold", **options})


@cache
def fixed_texts() -> dict[str, str]:
    """The texts of `FIXED` in English."""
    from typer import rich_utils  # imports much; only help and errors need it

    return {name: text for name, text in vars(rich_utils).items() if name in FIXED}


def _translate_fixed_texts() -> None:
    """Give Typer its own texts in the command's language."""
    from typer import rich_utils

    texts_of_typer = {name: translated(english) for name, english in fixed_texts().items()}
    vars(rich_utils).update(texts_of_typer, Text=_FoldedText)


@contextmanager
def _errors_translated() -> Iterator[None]:
    """Translate the errors of usage, also those that come without a line of usage."""
    try:
        with usage_errors_translated(translated):
            yield
    except TyperException:
        _translate_fixed_texts()
        raise


def _write_usage(command: Command | CommandGroup, ctx: Any, formatter: Any) -> None:
    """Write the line of usage. Typer does so first in help, so its other texts are set here too."""
    _translate_fixed_texts()
    pieces = map(translated, command.collect_usage_pieces(ctx))
    formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=f"{translated(USAGE)} ")


def _translate(command: Command | CommandGroup, ctx: Any) -> None:
    """Translate the texts that the help of a command shows."""
    commands = command.commands.values() if isinstance(command, CommandGroup) else ()
    for described in (command, *commands, *command.get_params(ctx)):
        text = getattr(described, "help", None)
        if text:
            described.help = translated(text)
