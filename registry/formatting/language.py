"""One interface language as the pages use it: page strings, labels of tokens, and texts given in several languages.

The catalogues and the set of languages are in `registry.i18n`. The message ids of page strings are their English texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from registry.events.values import text_in
from registry.i18n import DEFAULT_LANGUAGE, Label, render, translations

T = TypeVar("T")

FORMAT = "format"
"""The catalogues' context for how a language writes dates, numbers and money."""


DOT = "\u00a0· "
"""Stands between facts in a line. No line begins with it: the space before it does not break."""


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for a message that is translated later
    """Mark a message for the catalogue."""
    return text


class TaggedText(str):
    """A text with the tag of its language."""

    __slots__ = ("language",)
    language: str

    def __new__(cls, text: str, language: str) -> TaggedText:
        tagged = super().__new__(cls, text)
        tagged.language = language
        return tagged


class Translations:
    """The texts of one interface language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.catalogue = translations(language)

    def gettext(self, message: str) -> str:
        """The page string in this language; its English text if the catalogue lacks it."""
        return self.catalogue.gettext(message)

    def translate(self, message: str, **values: object) -> str:
        """The page string with its values filled in."""
        return self.gettext(message) % values

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        """The page string in the plural form for `n`."""
        return self.catalogue.ngettext(singular, plural, n)

    def format(self, name: str) -> str:
        """How the language writes something, such as a day; as English does if the catalogue lacks it."""
        pattern = self.catalogue.pgettext(FORMAT, name)
        return pattern if pattern != name else translations(DEFAULT_LANGUAGE).pgettext(FORMAT, name)

    def with_note(self, text: str, note: str) -> str:
        """A text with a note in brackets; without them for no note. Korean writes no space before the bracket."""
        return self.format("note") % {"text": text, "note": note} if note else text

    def has_label(self, kind: str, token: str) -> bool:
        """Whether a token of this kind has a plain name."""
        code = f"{kind}/{token}"
        return translations(DEFAULT_LANGUAGE).pgettext(Label.context, code) != code

    def label(self, kind: str, token: object) -> str:
        """The plain name of a token of the JSON; one without a name, such as an id, is shown as words."""
        if token is None:
            return self.gettext(N_("Not disclosed"))
        code = f"{kind}/{token}"
        name = render(Label(code), self.language)
        return name if name != code else str(token).replace("_", " ").replace("-", " ")

    def localized(self, text: Mapping[str, str | None] | None, otherwise: str = "") -> str:
        """A text in the reader's language, or in the first language that it was given in."""
        return text_in(text, self.language) or otherwise

    def order(self, name: str) -> tuple[bool, str]:
        """What a list of names is sorted by: letters without case and accents, numbers by their values, in Korean lists
        Hangul first (CLDR).
        """
        letters = unicodedata.normalize("NFKD", name.casefold())
        plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
        counted = re.sub(r"\d+", lambda digits: digits[0].zfill(20), plain)
        return self.language == "ko" and not "가" <= name[:1] <= "힣", counted

    def in_order(self, items: Iterable[T], names: Mapping[str, str], slug: str | None = None) -> list[T]:
        """Items, which are slugs or have one in a field, in the order of the names that the page shows for them."""

        def name(item: Any) -> str:
            key: str = getattr(item, slug) if slug is not None else item
            return names.get(key, key)

        return sorted(items, key=lambda item: self.order(name(item)))

    def other(self, text: Mapping[str, str | None] | None) -> TaggedText | None:
        """The same text in another language, if it was given in the reader's language as well and differs."""
        own = (text or {}).get(self.language)
        others = (TaggedText(t, language) for language, t in (text or {}).items() if language != self.language and t)
        return next((text for text in others if own and text != own), None)


def written_in(text: str) -> str:
    """The interface language that a text without a language tag is written in, as far as its letters tell."""
    return "ko" if re.search("[가-힣]", text) else DEFAULT_LANGUAGE


@cache
def words(language: str) -> Translations:
    """The texts of an interface language."""
    return Translations(language)
