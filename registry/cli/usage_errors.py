"""Errors of usage, in the language of the command. Typer's own sentences are English.

Each text is the message id of its translation in `help.po`, as the texts of the help are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from typer.exceptions import TyperException

from registry.cli import texts
from registry.i18n import DEFAULT_LANGUAGE

NO_COMMAND = "There is no command '{name}'."
NO_OPTION = "There is no option {name}."
SIMILAR = "Similar: {names}"
MISSING_ARGUMENT = "The argument {name} is missing."
MISSING_OPTION = "The option {name} is missing."
NO_VALUE = "The option {name} needs a value."
UNEXPECTED_VALUE = "The option {name} takes no value."
TOO_MANY = "Too many arguments: {arguments}"
INVALID = "Invalid value of {name}: {problem}"
NOT_WHOLE = "not a whole number"

TEXTS = (
    *(NO_COMMAND, NO_OPTION, SIMILAR, MISSING_ARGUMENT, MISSING_OPTION, NO_VALUE, UNEXPECTED_VALUE, TOO_MANY),
    *(INVALID, NOT_WHOLE),
)

Translate = Callable[[str], str]


@contextmanager
def usage_errors_translated(translate: Translate) -> Iterator[None]:
    """Give the errors of usage that Typer raises a sentence in the command's language."""
    try:
        yield
    except TyperException as error:
        sentence = _sentence(error, translate) if texts.language.get() != DEFAULT_LANGUAGE else None
        if sentence is not None:
            vars(error)["format_message"] = lambda: sentence
        raise


def _sentence(error: Any, translate: Translate) -> str | None:
    """The sentence of an error whose kind Typer states; None for others, whose message is ours or the system's."""
    match type(error).__name__:
        case "NoSuchOption":
            sentence = translate(NO_OPTION).format(name=error.option_name)
            if error.possibilities:
                sentence += " " + translate(SIMILAR).format(names=", ".join(sorted(error.possibilities)))
            return sentence
        case "MissingParameter":
            text = MISSING_ARGUMENT if error.param.param_type_name == "argument" else MISSING_OPTION
            return translate(text).format(name=error.param.get_error_hint())
        case "BadOptionUsage":
            takes_none = error.message == f"Option {error.option_name!r} does not take a value."
            return translate(UNEXPECTED_VALUE if takes_none else NO_VALUE).format(name=error.option_name)
        case "BadParameter":
            name = error.param_hint or (error.param and error.param.get_error_hint())
            return translate(INVALID).format(name=name, problem=_problem(error, translate)) if name else error.message
    return None


def _problem(error: Any, translate: Translate) -> str:
    """What is wrong with a value: by the code of the validation that refused it, else the error's own words."""
    errors: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    is_no_integer = bool(errors) and errors[0]["type"] in ("int_parsing", "int_type")
    return translate(NOT_WHOLE) if is_no_integer else str(error.message)
