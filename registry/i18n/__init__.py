"""Texts that people read: messages as codes with parameters, and the catalogues that render them in a language.

Logic never depends on a sentence. A refusal, a flag or a wrong field is a `Message`: a code and its parameters. Its
text stands in a gettext catalogue, `locale/LANGUAGE/*.po`, under the message's context and code. The strings of pages
and the help of the command stand in the same catalogues under their English text, as gettext does it by default.

To add an interface language, add one line to `LANGUAGES` and a folder of catalogues.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from gettext import GNUTranslations
from importlib import resources
from importlib.resources.abc import Traversable
from io import BytesIO
from typing import Any, ClassVar, Self, TypeAlias, Union

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from registry.i18n.particles import choose_particles

LANGUAGES: dict[str, str] = {"ko": "한국어", "en": "English"}
"""The interface languages, each by its own name."""

DEFAULT_LANGUAGE = "en"

CATALOGUE_FOLDERS: list[Traversable] = [resources.files(__name__) / "locale"]
"""Where catalogues are: `FOLDER/LANGUAGE/*.po`."""

Parameter: TypeAlias = Union[str, int, Decimal, date, datetime, "Message", "list[Parameter]", "tuple[Parameter, ...]"]
"""What a message may have in it. A nested message is rendered in the same language."""

Formatter: TypeAlias = Callable[[Any], str]


class Message:
    """A text as a code and its parameters. `context` is the code's namespace in the catalogues."""

    __slots__ = ("code", "params")
    context: ClassVar[str] = "message"

    def __init__(self, code: str, /, **params: Parameter) -> None:
        self.code = code
        self.params = params

    def with_params(self, **changed: Parameter) -> Self:
        """The same text with some parameters changed."""
        return type(self)(self.code, **{**self.params, **changed})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and (self.code, self.params) == (other.code, other.params)

    def __hash__(self) -> int:
        return hash((type(self), self.code, *self.params))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.params!r})"

    def __str__(self) -> str:
        return render(self)


class Label(Message):
    """The plain name of a token of the JSON, such as a role or an event type: `Label("role/investor")`."""

    context = "label"


class Wait(Message):
    """How long to wait, as a person says it: "in about 55 minutes"."""

    context = "wait"


def wait(seconds: int) -> Wait:
    """A wait in its natural unit, rounded up so that it is never too short; seconds are exact."""
    if seconds < 60:
        return Wait("seconds", count=seconds)
    if seconds < 90 * 60:
        return Wait("minutes", count=-(-seconds // 60))
    return Wait("hours", count=-(-seconds // 3600))


def plain(value: object) -> str:
    """A parameter as the API writes it: instants as its parameters take them, such as 2025-10-29T12:00:00Z."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def render(message: Message, language: str = DEFAULT_LANGUAGE, formatter: Formatter = plain) -> str:
    """The message's text in a language. `formatter` writes each parameter that is not itself a message.

    A parameter named `count` chooses the plural form. A code that a catalogue lacks is rendered in English, and where
    English lacks it too, as the code itself (tests/i18n finds both).
    """
    params = {name: _rendered(value, language, formatter) for name, value in message.params.items()}
    for known in dict.fromkeys((language, DEFAULT_LANGUAGE)):
        catalogue = translations(known)
        count = message.params.get("count")
        if isinstance(count, int):
            text = catalogue.npgettext(message.context, message.code, message.code, count)
        else:
            text = catalogue.pgettext(message.context, message.code)
        if text != message.code:
            text = text % params if params else text
            return choose_particles(text) if known == "ko" else text
    return message.code


def _rendered(value: Parameter, language: str, formatter: Formatter) -> str:
    if isinstance(value, Message):
        return render(value, language, formatter)
    if isinstance(value, (list, tuple)):
        return ", ".join(_rendered(item, language, formatter) for item in value)
    return formatter(value)


def catalogue_files(language: str) -> list[Traversable]:
    """The .po files of a language."""
    folders = [folder / language for folder in CATALOGUE_FOLDERS]
    files = [file for folder in folders if folder.is_dir() for file in folder.iterdir()]
    return sorted((file for file in files if file.name.endswith(".po")), key=lambda file: file.name)


@cache
def translations(language: str) -> GNUTranslations:
    """A language's catalogues, merged into one, read once."""
    catalogue = Catalog(locale=language)
    for file in catalogue_files(language):
        for message in read_po(BytesIO(file.read_bytes()), locale=language):
            if message.id and message.string:
                catalogue.add(message.id, message.string, context=message.context)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


def negotiate_language(accept_language: str | None) -> str:
    """The interface language that an Accept-Language header prefers (RFC 9110 §12.5.4); English without one."""
    best, best_quality = DEFAULT_LANGUAGE, 0.0
    for part in (accept_language or "").split(","):
        tag, _, weight = part.partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        language = tag.strip().lower().split("-")[0]
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best
