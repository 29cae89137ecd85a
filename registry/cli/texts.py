"""Texts of the command, in the language of `--lang` or REGISTRY_LANG.

A text is a code with parameters; the catalogues are `i18n/locale/LANGUAGE/cli.po`. The help is in `cli/help.py`.
"""

from __future__ import annotations

from contextvars import ContextVar

from registry.i18n import DEFAULT_LANGUAGE, Message, render

language: ContextVar[str] = ContextVar("language", default=DEFAULT_LANGUAGE)
"""The language of this run of the command. Also sent to the service, as Accept-Language."""


class Text(Message):
    """A text that the command prints."""

    __slots__ = ()
    context = "cli"


def rendered(message: Message) -> str:
    """The message in the command's language."""
    return render(message, language.get())


def plain_spaces(text: str) -> str:
    """A text of the pages for a terminal, which breaks lines by itself: pages keep figures and dates together."""
    return text.replace("\u00a0", " ").replace("\u200b", "").replace("\u2060", "")
