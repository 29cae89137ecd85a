"""The pages about the registry itself: what it is, how to use it, and what its terms mean."""

from __future__ import annotations

from typing import Any, ClassVar

from litestar import Controller, Response, route
from msgspec import Struct

from registry.formatting.language import N_
from registry.i18n import LANGUAGES, Message, render
from registry.web.page.render import render as rendered
from registry.web.page.render import send
from registry.web.page.request import READ, Page, PageRequest


class Term(Message):
    """The name of a term."""

    __slots__ = ()
    context: ClassVar[str] = "term"


class Meaning(Message):
    """What a term means."""

    __slots__ = ()
    context: ClassVar[str] = "meaning"


TERMS: dict[str, tuple[str, ...]] = {
    N_("Investments"): (
        "deal", "announcement", "pledge", "commitment-level", "amount-basis", "qualifier", "disbursement", "estimate",
        "incentive", "party", "site", "milestone", "metric", "relation",
    ),
    N_("Stages"): ("stage", "declared", "observed", "inferred", "setback", "certainty"),
    N_("Sources"): ("source", "claim", "preferred-claim", "corroborated", "provenance", "warning"),
    N_("Dates"): ("effective-date", "publication-date", "recorded-time", "as-of", "loose-date", "late-information"),
    N_("Totals"): ("lower-bound", "upper-bound", "counted", "excluded", "derivation", "reference-rate"),
    N_("Records"): ("event", "history", "correction", "void", "redaction", "merge", "comparison"),
    N_("Evidence"): (
        "log", "position", "leaf", "root-hash", "checkpoint", "inclusion-proof", "consistency-proof", "certificate",
        "api-key",
    ),
}  # fmt: skip
"""The glossary: its sections and the codes of their terms. docs/glossary.md has the same terms (tests/web)."""


class GlossaryEntry(Struct, frozen=True):
    """A term in the reader's language, its name in each other language, and its meaning."""

    code: str
    name: str
    others: dict[str, str]
    meaning: str


def glossary(language: str) -> dict[str, list[GlossaryEntry]]:
    """The glossary in one language, by the page string of each section's heading."""
    return {heading: [_entry(code, language) for code in codes] for heading, codes in TERMS.items()}


def _entry(code: str, language: str) -> GlossaryEntry:
    others = {tag: render(Term(code), tag) for tag in LANGUAGES if tag != language}
    return GlossaryEntry(code, render(Term(code), language), others, render(Meaning(code), language))


class GuidePages(Controller):
    """About, help and glossary."""

    @route("/about", http_method=READ)
    async def get_about(self, page: Page) -> Response[bytes]:
        """What the registry is, and what stands behind its data."""
        return _send(page, "about.html")

    @route("/help", http_method=READ)
    async def get_help(self, public_page: Page) -> Response[bytes]:
        """How to read, check and use the registry."""
        return _send(public_page, "help.html")

    @route("/glossary", http_method=READ)
    async def get_glossary(self, public_page: Page) -> Response[bytes]:
        """The terms of the pages, in the reader's language and in the others."""
        return _send(public_page, "glossary.html", glossary=glossary(public_page.language))


def _send(page: PageRequest, template: str, **context: Any) -> Response[bytes]:
    return send(page, rendered(page, template, **context))
