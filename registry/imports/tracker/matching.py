"""Whether a row that is gone continues under another key, as one deal or as several.

A name is compared only with those that share a word or an address with it, so the work grows with the number of rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field
from rapidfuzz import fuzz

from registry.domain.organizations.deduplication import SIMILARITY_THRESHOLD, normalize_name
from registry.imports.messages import ImportText
from registry.imports.tracker.questions import Answers, OpenQuestion
from registry.imports.tracker.registry import KnownDeal

MAX_NAMES_PER_WORD = 200
"""A word that more names have tells nothing, such as `Solar`."""


class GoneDeal(Struct, frozen=True):
    """A recorded deal whose key the sheet no longer has."""

    key: str
    deal: KnownDeal


class NewRow(Struct):
    """What is known of a row whose key is not recorded."""

    key: str
    title: str
    at: str
    addresses: tuple[str, ...] = ()
    organizations: frozenset[str] = frozenset()


class Decision(Struct):
    """What is to be done with the rows of a sheet whose key is not recorded.

    Attributes:
        waiting: The keys of rows that wait for an answer.
        same: The deal that a row continues, by the row's key.
        supersedes: The deal that a row is a part of, by the row's key.
        separate_from: The deal whose lost capacity a row has, by the row's key.
        answered: The keys of gone deals about which the editor decides.
        shrinking: Deals whose smaller plan waits for an answer.
    """

    waiting: set[str] = field(default_factory=set)
    same: dict[str, str] = field(default_factory=dict)
    supersedes: dict[str, str] = field(default_factory=dict)
    separate_from: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    shrinking: set[str] = field(default_factory=set)
    questions: list[OpenQuestion] = field(default_factory=list)


class RowMatcher:
    """Compares new rows with the deals that are gone, and with those whose plan shrank."""

    def __init__(self, gone: Iterable[GoneDeal], shrunk: dict[str, tuple[str, str, str]], answers: Answers) -> None:
        self.gone = {one.key: one for one in gone}
        self.shrunk = shrunk
        self.answers = answers
        self._by_word: dict[str, list[GoneDeal]] = defaultdict(list)
        self._by_address: dict[str, list[GoneDeal]] = defaultdict(list)
        for one in self.gone.values():
            for word in set(normalize_name(one.deal.title).split()):
                self._by_word[word].append(one)
            for address in addresses(one.deal.state or {}):
                self._by_address[address].append(one)

    def decide(self, rows: Iterable[NewRow]) -> Decision:
        """What is to be done with new rows: by the editor's answers, else they wait for one."""
        decision = Decision()
        by_gone: dict[str, list[tuple[NewRow, list[ImportText]]]] = defaultdict(list)
        for row in rows:
            for one, reasons in self._candidates(row):
                by_gone[one.key].append((row, reasons))
            self._ask_about_shrunk(decision, row)
        for key, matches in by_gone.items():
            parts = [row for row, _ in matches if _starts_with(row.title, self.gone[key].deal.title)]
            if len(parts) > 1:
                self._ask_about_parts(decision, self.gone[key], parts)
            else:
                for row, reasons in matches:
                    self._ask_about_name(decision, self.gone[key], row, reasons)
        return decision

    def _candidates(self, row: NewRow) -> Iterator[tuple[GoneDeal, list[ImportText]]]:
        found: dict[str, GoneDeal] = {}
        for word in set(normalize_name(row.title).split()):
            named = self._by_word.get(word, ())
            if len(named) <= MAX_NAMES_PER_WORD:
                found |= {one.key: one for one in named}
        for address in row.addresses:
            found |= {one.key: one for one in self._by_address.get(address, ())}
        for one in found.values():
            if reasons := _similarities(one, row):
                yield one, reasons

    def _ask_about_name(self, decision: Decision, gone: GoneDeal, row: NewRow, reasons: list[ImportText]) -> None:
        message = ImportText("renamed", name=gone.deal.title, other=row.title, reasons=tuple(reasons))
        question = OpenQuestion("renamed", row.at, (gone.key, row.key), message)
        match self.answers.get(question.id):
            case "same":
                decision.same[row.key] = gone.deal.slug
                decision.answered.add(gone.key)
            case "different":
                pass
            case _:
                decision.questions.append(question)
                decision.waiting.add(row.key)
                decision.answered.add(gone.key)

    def _ask_about_parts(self, decision: Decision, gone: GoneDeal, parts: list[NewRow]) -> None:
        names = tuple(f"'{row.title}'" for row in parts)
        message = ImportText("split-by-name", name=gone.deal.title, parts=names)
        question = OpenQuestion("split", parts[0].at, (gone.key, *(row.key for row in parts)), message)
        match self.answers.get(question.id):
            case "split":
                decision.supersedes |= {row.key: gone.deal.slug for row in parts}
                decision.answered.add(gone.key)
            case "different":
                pass
            case _:
                decision.questions.append(question)
                decision.waiting |= {row.key for row in parts}
                decision.answered.add(gone.key)

    def _ask_about_shrunk(self, decision: Decision, row: NewRow) -> None:
        for address in row.addresses:
            if address in self.shrunk:
                title, slug, lost = self.shrunk[address]
                message = ImportText("split-by-capacity", name=title, lost=lost, other=row.title)
                question = OpenQuestion("split", row.at, (slug, row.key, "capacity"), message)
                match self.answers.get(question.id):
                    case "split":
                        decision.separate_from[row.key] = slug
                    case "different":
                        pass
                    case _:
                        decision.questions.append(question)
                        decision.waiting.add(row.key)
                        decision.shrinking.add(slug)
                return


def addresses(state: Any) -> set[str]:
    """The addresses and names of a deal's sites."""
    return {
        text.casefold()
        for site in state.get("sites") or ()
        for text in (site.get("address"), *(site.get("name") or {}).values())
        if text
    }


def _similarities(gone: GoneDeal, row: NewRow) -> list[ImportText]:
    """What a new row has in common with a deal that is gone; empty if it is unlikely to be the same."""
    one, two = (set(normalize_name(name).split()) for name in (gone.deal.title, row.title))
    reasons: list[ImportText] = []
    if one and two and (one <= two or two <= one):
        reasons.append(ImportText("same-words"))
    elif fuzz.ratio(normalize_name(gone.deal.title), normalize_name(row.title)) >= SIMILARITY_THRESHOLD:
        reasons.append(ImportText("similar-spelling"))
    if addresses(gone.deal.state or {}) & set(row.addresses):
        reasons.append(ImportText("same-address"))
    owners = {party["organization"] for party in (gone.deal.state or {}).get("parties") or ()}
    if reasons and owners & row.organizations:
        reasons.append(ImportText("same-owner"))
    return reasons


def _starts_with(name: str, start: str) -> bool:
    """Whether a name is another one followed by more words."""
    name, start = name.casefold(), start.casefold()
    return name.startswith(start) and not name[len(start) : len(start) + 1].isalnum()
