"""Matches the rows of a sheet with recorded deals, and asks about renames and splits."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from decimal import Decimal

from rapidfuzz import fuzz

from registry.domain.deduplication import SIMILARITY_THRESHOLD, normalize_name
from registry.domain.money import format_decimal
from registry.imports.mapping import Mapping
from registry.imports.messages import ImportText
from registry.imports.tracker.plan import KnownDeal, OpenQuestion, TrackedRow
from registry.imports.tracker.redefinition import recorded_capacity
from registry.imports.tracker.values import slugify, toml_string

ADDRESS_SIMILARITY = 92.0
"""Two addresses at least this similar (0 to 100, Indel similarity) are taken for the same."""


class DealMatcher:
    """Finds the recorded deal of a row, and candidates where none has its name."""

    def __init__(self, mapping: Mapping, deals: Sequence[KnownDeal]) -> None:
        self.mapping = mapping
        self.deals = deals
        self._distinct = {(d.was, d.now) for d in mapping.different}

    def named(self, name: str) -> KnownDeal | None:
        """The recorded deal with this name, or with the slug of this name."""
        folded = name.casefold()
        by_title = next((deal for deal in self.deals if deal.name.casefold() == folded), None)
        slug = self.mapping.deal.slug + slugify(name)
        return by_title or next((deal for deal in self.deals if deal.slug == slug), None)

    def match(self, row: TrackedRow) -> KnownDeal | None:
        """The recorded deal of a row, by its name or by the editor's decision that it was renamed."""
        deal = self.named(row.name)
        if deal is None:
            was = next((renamed.was for renamed in self.mapping.same if renamed.now == row.name), None)
            deal = self.named(was) if was else None
        return deal

    def missing_rows(
        self, missing: Sequence[KnownDeal], new: Sequence[TrackedRow]
    ) -> tuple[list[OpenQuestion], set[str]]:
        """Questions about the recorded deals without a row, and the names of new rows that wait for the answers."""
        questions: list[OpenQuestion] = []
        waiting: set[str] = set()
        splits = {split.was: set(split.into) for split in self.mapping.split}
        for deal in missing:
            if deal.name in splits:
                continue
            undecided = [
                row
                for row in new
                if (deal.name, row.name) not in self._distinct and not any(row.name in into for into in splits.values())
            ]
            parts = [row for row in undecided if _starts_with(row.name, deal.name)]
            similar = [(reasons, row) for row in undecided if (reasons := self._similarities(deal, row))]
            if len(parts) > 1:
                questions.append(_split_by_name(deal, parts))
                waiting |= {row.name for row in parts}
            elif similar:
                questions += [_rename(deal, row, reasons) for reasons, row in similar]
                waiting |= {row.name for _, row in similar}
            else:
                questions.append(OpenQuestion("gone", deal.slug, ImportText("row-gone", name=deal.name)))
        return questions, waiting

    def split_by_capacity(self, row: TrackedRow, deal: KnownDeal, new: Sequence[TrackedRow]) -> list[OpenQuestion]:
        """Questions about a deal whose capacity shrank, for each new row at its address."""
        before, after = recorded_capacity(self.mapping, deal, "power_mw"), row.value("power_mw")
        if before is None or after is None or Decimal(after) >= Decimal(before):
            return []
        lost = Decimal(before) - Decimal(after)
        decided = {name for split in self.mapping.split if split.was == deal.name for name in split.into}
        return [
            _split_by_capacity(row, deal, other, lost, Decimal(power_mw))
            for other in new
            if (power_mw := other.value("power_mw")) is not None
            and other.name not in decided
            and self._has_same_address(deal, other)
            and (deal.name, other.name) not in self._distinct
        ]

    def _similarities(self, deal: KnownDeal, row: TrackedRow) -> list[ImportText]:
        """What a new row has in common with a recorded deal; empty if it is unlikely to be the same."""
        one, two = (set(normalize_name(name).split()) for name in (deal.name, row.name))
        reasons: list[ImportText] = []
        if one and two and (one <= two or two <= one):
            reasons.append(ImportText("same-words"))
        elif fuzz.ratio(normalize_name(deal.name), normalize_name(row.name)) >= SIMILARITY_THRESHOLD:
            reasons.append(ImportText("similar-spelling"))
        if self._has_same_address(deal, row):
            reasons.append(ImportText("same-address"))
        owners = {party["organization"] for party in deal.state["parties"]}
        if reasons and owners & {slugify(name) for name, _ in row.parties}:
            reasons.append(ImportText("same-owner"))
        return reasons

    def _has_same_address(self, deal: KnownDeal, row: TrackedRow) -> bool:
        site: AnyMapping[str, AnyMapping[str, str] | None] = (
            deal.site(self.mapping.site.site) if self.mapping.site else None
        ) or {}
        recorded = (site.get("name") or {}).get("en")
        address = row.value("address")
        return bool(recorded and address and fuzz.ratio(recorded.casefold(), address.casefold()) >= ADDRESS_SIMILARITY)


def _starts_with(name: str, start: str) -> bool:
    """Whether a name is another one followed by more words."""
    name, start = name.casefold(), start.casefold()
    return name.startswith(start) and not name[len(start) : len(start) + 1].isalnum()


def _split_by_name(deal: KnownDeal, parts: Sequence[TrackedRow]) -> OpenQuestion:
    names = [row.name for row in parts]
    message = ImportText("split-by-name", name=deal.name, parts=tuple(f"'{name}'" for name in names))
    return OpenQuestion("split", parts[0].at, message, _split_table(deal.name, names))


def _split_by_capacity(
    row: TrackedRow, deal: KnownDeal, other: TrackedRow, lost: Decimal, power_mw: Decimal
) -> OpenQuestion:
    shrunk, new, by = row.name, other.name, format_decimal(lost)
    if power_mw == lost:
        message = ImportText("split-by-exact-capacity", name=shrunk, lost=by, other=new)
    else:
        message = ImportText("split-by-capacity", name=shrunk, lost=by, other=new, power=format_decimal(power_mw))
    return OpenQuestion("split", other.at, message, _split_table(deal.name, [row.name, other.name]))


def _rename(deal: KnownDeal, row: TrackedRow, reasons: list[ImportText]) -> OpenQuestion:
    message = ImportText("renamed", name=deal.name, other=row.name, reasons=tuple(reasons))
    accept = f"[[same]]\nwas = {toml_string(deal.name)}\nnow = {toml_string(row.name)}"
    return OpenQuestion("renamed", row.at, message, accept)


def _split_table(name: str, parts: Sequence[str]) -> str:
    return f"[[split]]\nwas = {toml_string(name)}\ninto = [{', '.join(map(toml_string, parts))}]"
