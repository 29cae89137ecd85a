"""A tracker's sheets (one row a thing, with its present values) compared with what the registry holds of those things.

A new row becomes a deal, a changed value a revision with the sheet as its source. What may have another meaning is not
recorded but asked: a row that is gone (never a withdrawal), a name that looks like another one, a plan that may have
been split, a column whose values moved by one factor. The mapping holds the answers people gave. Pure: what the
registry holds is handed in, as it was known on the sheet's own day, so that the same sheet again changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
import pycountry
from msgspec import Struct, field
from rapidfuzz import fuzz

from registry.domain.deduplication import SIMILARITY_THRESHOLD, normalize_name
from registry.domain.money import format_decimal
from registry.events import validation
from registry.events.types import (
    Announcement,
    DealEvent,
    DealRegistered,
    DealRevised,
    DealsRelated,
    EventCorrected,
    Localized,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    PartiesJoined,
    Party,
    Replacement,
    SiteAnnounced,
    SiteRevised,
    Source,
)
from registry.imports.mapping import ColumnRedefined, ColumnRef, Mapping, MilestoneMapping
from registry.imports.template import ParsedRow, identified
from registry.imports.workbook import CellError, Sheet, SheetRow

Kind = Literal["gone", "renamed", "split", "redefined", "column", "elsewhere", "silent"]

RELATIVE_TOLERANCE = Decimal("0.01")
"""Two factors are one when they differ by no more than this part."""

SAME_ADDRESS = 92.0

_SITE_FIELDS = ("address", "place", "latitude", "longitude", "power_mw", "gpus")
_FIGURES = ("power_mw", "gpus")


class KnownDeal(Struct, frozen=True):
    """A deal as the registry holds it on the sheet's day.

    `state` is the answer of `GET /v1/deals/{deal}`; `set_by` maps a field to the event that set it; `events` holds
    those events as they read (`event`, `sources`).
    """

    slug: str
    state: AnyMapping[str, Any]
    set_by: AnyMapping[str, str] = {}
    events: AnyMapping[str, AnyMapping[str, Any]] = {}

    @property
    def name(self) -> str:
        title = self.state["title"] or {}
        return str(title.get("en") or title.get("ko") or self.slug)

    def site(self, name: str) -> AnyMapping[str, Any] | None:
        return next((s for s in self.state["sites"] if s["site"] == name), None)


class OpenQuestion(Struct, frozen=True):
    """What a person has to decide; `accept` is what to add to the mapping if it is as asked."""

    kind: Kind
    at: str
    text: str
    accept: str | None = None


class ImportPlan(Struct, frozen=True):
    """What to record, what to ask, and what is wrong in the cells (then nothing is to be recorded)."""

    lines: tuple[ParsedRow, ...]
    questions: tuple[OpenQuestion, ...]
    faults: tuple[CellError, ...]


class _TrackedRow(Struct):
    """A row of the sheet of things, with its values by field; each value with its cell."""

    name: str
    row: SheetRow
    at: str
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    planned: dict[str, tuple[date, str | None, str]] = field(default_factory=dict)
    parties: list[tuple[str, str]] = field(default_factory=list)

    def value(self, name: str) -> str | None:
        return self.values[name][0] if name in self.values else None


def plan(
    sheets: Sequence[Sheet], mapping: Mapping, on: date, held: Sequence[KnownDeal], known: Collection[str] = ()
) -> ImportPlan:
    """What a tracker's sheets of a day change in what is held.

    `held` are the deals of this tracker as they were known and in effect on that day; `known` are the names of all
    deals that the registry ever heard of: a sheet older than what is recorded of its things is refused.
    """
    return _Comparison(sheets, mapping, on, held, known).plan()


class _Comparison:
    def __init__(
        self, sheets: Sequence[Sheet], mapping: Mapping, on: date, held: Sequence[KnownDeal], known: Collection[str]
    ) -> None:
        self.mapping = mapping
        self.on = on
        self.held = held
        self.known = set(known) - {h.slug for h in held}
        self.sheets = {name: _named(part, sheets) for name, part in mapping.sheets.items()}
        self.lines: list[ParsedRow] = []
        self.questions: list[OpenQuestion] = []
        self.faults: list[CellError] = []
        self.rows: dict[tuple[str, str], list[SheetRow]] = {}
        self.moved: dict[str, dict[str, Decimal]] = {name: {} for name in _FIGURES}

    def plan(self) -> ImportPlan:
        missing = [name for name, sheet in self.sheets.items() if sheet is None]
        if missing:
            told = [CellError(name, f"no sheet's name has '{self.mapping.sheets[name]}' in it") for name in missing]
            return ImportPlan((), (), tuple(told))
        things = list(self._things())
        matched = {id(thing): self._match(thing) for thing in things}
        found = {h.slug for h in matched.values() if h is not None}
        gone = [h for h in self.held if h.slug not in found]
        new = [thing for thing in things if matched[id(thing)] is None]
        for thing in new:
            if self._slug(thing.name) in self.known:
                why = "is recorded from a later day: import the older sheets of a tracker first"
                self.faults.append(CellError(thing.at, f"'{thing.name}' {why}"))
        waiting = self._missing_rows(gone, new)
        pairs = [(thing, held) for thing in things if (held := matched[id(thing)]) is not None]
        redefined = {name: self._redefined(name, pairs) for name in _FIGURES}
        self._other_columns(pairs)
        for thing in things:
            held = matched[id(thing)]
            if held is not None:
                self._revise(thing, held, redefined)
                self._parts(thing, held, new)
            elif thing.name not in waiting:
                self._register(thing)
        self._splits(things, matched)
        if self.faults:
            return ImportPlan((), tuple(self.questions), tuple(self.faults))
        return ImportPlan(tuple(self.lines), tuple(self.questions), ())

    # --- reading the sheets -------------------------------------------------------------------------------------------

    def _things(self) -> Iterator[_TrackedRow]:
        sheet = self.sheets["things"]
        assert sheet is not None
        column = sheet.column(self.mapping.deal.name)
        if column is None:
            names = ", ".join(self.mapping.deal.name)
            self.faults.append(CellError(sheet.at(sheet.first, 0), f"no column is called {names}"))
            return
        seen: dict[str, str] = {}
        for row in sheet.rows:
            name = _cell(row, column)
            at = sheet.at(row.number, column)
            if not name:
                self.faults.append(CellError(at, "the row has no name"))
                continue
            slug = self._slug(name)
            if not slug.removeprefix(self.mapping.deal.slug):
                self.faults.append(CellError(at, f"'{name}' has no letter of the Latin alphabet to make a slug of"))
                continue
            if slug in seen:
                self.faults.append(CellError(at, f"'{name}' stands at {seen[slug]} already"))
                continue
            seen[slug] = at
            thing = _TrackedRow(name, row, at)
            self._read(thing, sheet)
            yield thing

    def _read(self, thing: _TrackedRow, sheet: Sheet) -> None:
        names = [thing.name, *self._aliases(thing, sheet)]
        for name in _SITE_FIELDS if self.mapping.site else ():
            said = getattr(self.mapping.site, name)
            found = self._said(said, thing, sheet, names) if said is not None else None
            value = self._checked(name, *found) if found else None
            if found and value is not None:
                thing.values[name] = (value, found[1])
        for milestone in self.mapping.milestones:
            self._foreseen(milestone, thing, sheet, names)
        self._parties(thing, sheet)

    def _checked(self, name: str, text: str, at: str) -> str | None:
        try:
            return self._value(name, text)
        except ValueError as error:
            self.faults.append(CellError(at, f"{name}: {error}"))
            return None

    def _parties(self, thing: _TrackedRow, sheet: Sheet) -> None:
        for of in self.mapping.parties:
            column = sheet.column(of.column)
            for text in re.split(r"[,;]", _cell(thing.row, column)) if column is not None else ():
                who = text.strip()
                if of.only is not None:
                    if not who.endswith(of.only):
                        continue
                    who = who.removesuffix(of.only).strip()
                if who:
                    thing.parties.append((who, of.role))

    def _foreseen(self, milestone: MilestoneMapping, thing: _TrackedRow, sheet: Sheet, names: list[str]) -> None:
        found = self._said(milestone.planned, thing, sheet, names)
        if not found:
            return
        text, at = found
        day = self._day(text)
        if day is None:
            self.faults.append(CellError(at, f"'{text}' is no date as the mapping's 'dates' have it"))
            return
        power = self._said(milestone.power_mw, thing, sheet, names) if milestone.power_mw else None
        mw = self._checked("power_mw", *power) if power else None
        thing.planned[milestone.milestone] = (day, mw, at)

    def _said(self, said: ColumnRef, thing: _TrackedRow, sheet: Sheet, names: list[str]) -> tuple[str, str] | None:
        """A value's text and its cell; None where the sheet says nothing."""
        if said.sheet is None:
            column = sheet.column(said.column)
            text = _cell(thing.row, column) if column is not None else ""
            return (text, sheet.at(thing.row.number, column)) if text and column is not None else None
        other = self.sheets.get(said.sheet)
        if other is None:
            return None
        column, by = other.column(said.column), other.column(said.by or said.column)
        if column is None or by is None:
            return None
        best: tuple[Decimal, str, str] | None = None
        for row in self._rows_of(said, other, names):
            figure = _number(_cell(row, by))
            if figure is not None and _cell(row, column) and (best is None or figure > best[0]):
                best = (figure, _cell(row, column), other.at(row.number, column))
        return best[1:] if best else None

    def _rows_of(self, said: ColumnRef, other: Sheet, names: list[str]) -> list[SheetRow]:
        assert said.sheet is not None
        if not any(sheet == said.sheet for sheet, _ in self.rows):
            key = other.column(said.key)
            for row in other.rows if key is not None else ():
                self.rows.setdefault((said.sheet, _cell(row, key)), []).append(row)
        return [row for name in dict.fromkeys(names) for row in self.rows.get((said.sheet or "", name), ())]

    def _value(self, name: str, text: str) -> str | None:
        """A field's value as events write it. Zero is none: an unknown is not zero. Raises ValueError."""
        match name:
            case "address":
                return " ".join(text.split())[:300]
            case "place":
                return self._place(text)
            case "latitude" | "longitude":
                return _degrees(text)
            case _:
                figure = _number(text)
                if figure is None or figure < 0:
                    raise ValueError(f"'{text}' is no figure")
                if figure == 0:
                    return None
                if name == "gpus" and figure != int(figure):
                    raise ValueError(f"'{text}' is no whole number")
                return format_decimal(figure.quantize(Decimal("0.000001"), ROUND_HALF_EVEN))

    def _place(self, text: str) -> str:
        code = self.mapping.places.get(text)
        if code is None:
            try:
                code = str(pycountry.countries.lookup(text).alpha_2)
            except LookupError:
                code = text
        places: Any = pycountry.subdivisions if "-" in code else pycountry.countries
        if (places.get(code=code) if "-" in code else places.get(alpha_2=code)) is None:
            raise ValueError(f"'{code}' is no ISO 3166 country or subdivision: name it under [places]")
        return code

    def _day(self, text: str) -> date | None:
        for form in self.mapping.dates:
            try:
                return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no time zone
            except ValueError:
                continue
        return None

    # --- who is who ---------------------------------------------------------------------------------------------------

    def _slug(self, name: str) -> str:
        return self.mapping.deal.slug + slugified(name)

    def _held(self, name: str) -> KnownDeal | None:
        """The deal that goes by this name, or began under it."""
        folded = name.casefold()
        by_title = next((h for h in self.held if h.name.casefold() == folded), None)
        return by_title or next((h for h in self.held if h.slug == self._slug(name)), None)

    def _match(self, thing: _TrackedRow) -> KnownDeal | None:
        found = self._held(thing.name)
        if found is None:
            was = next((same.was for same in self.mapping.same if same.now == thing.name), None)
            found = self._held(was) if was else None
        return found

    def _missing_rows(self, gone: Sequence[KnownDeal], new: Sequence[_TrackedRow]) -> set[str]:
        """Asks about the deals without a row, and answers with the new names that wait for the answer."""
        waiting: set[str] = set()
        decided = {(d.was, d.now) for d in self.mapping.different}
        split = {s.was: set(s.into) for s in self.mapping.split}
        for held in gone:
            if held.name in split:
                continue
            free = [
                t for t in new if (held.name, t.name) not in decided and not any(t.name in i for i in split.values())
            ]
            parts = [t for t in free if _begins(t.name, held.name)]
            likely = [(why, t) for t in free if (why := self._similar_names(held, t))]
            if len(parts) > 1:
                names = [t.name for t in parts]
                listed = ", ".join(f"'{n}'" for n in names)
                self._ask("split", parts[0].at, f"'{held.name}' is gone, and {listed} begin like it: was it split?",
                          f"[[split]]\nwas = {_toml(held.name)}\ninto = [{', '.join(map(_toml, names))}]")  # fmt: skip
                waiting |= set(names)
            elif likely:
                for why, thing in likely:
                    self._ask("renamed", thing.at, f"'{held.name}' is gone, and '{thing.name}' {why}: is it the same?",
                              f"[[same]]\nwas = {_toml(held.name)}\nnow = {_toml(thing.name)}")  # fmt: skip
                    waiting.add(thing.name)
            else:
                self._ask(
                    "gone", held.slug, f"'{held.name}' has no row any more. That is no withdrawal: it stays as it was."
                )
        return waiting

    def _similar_names(self, held: KnownDeal, thing: _TrackedRow) -> str | None:
        one, two = (set(normalize_name(name).split()) for name in (held.name, thing.name))
        reasons = []
        if one and two and (one <= two or two <= one):
            reasons.append("has its words")
        elif fuzz.ratio(normalize_name(held.name), normalize_name(thing.name)) >= SIMILARITY_THRESHOLD:
            reasons.append("is spelled like it")
        if self._same_address(held, thing):
            reasons.append("has its address")
        owners = {p["organization"] for p in held.state["parties"]}
        if reasons and owners & {slugified(who) for who, _ in thing.parties}:
            reasons.append("has its owner")
        return " and ".join(reasons) or None

    def _same_address(self, held: KnownDeal, thing: _TrackedRow) -> bool:
        site = held.site(self.mapping.site.site) if self.mapping.site else None
        was = ((site or {}).get("name") or {}).get("en")
        now = thing.value("address")
        return bool(was and now and fuzz.ratio(was.casefold(), now.casefold()) >= SAME_ADDRESS)

    # --- columns that mean something else -----------------------------------------------------------------------------

    def _redefined(
        self, name: str, pairs: Sequence[tuple[_TrackedRow, KnownDeal]]
    ) -> dict[str, ColumnRedefined | None]:
        """The deals whose figure moved by the factor by which its column did, each with what a person said of it."""
        factors = {
            held.slug: Decimal(now) / Decimal(was)
            for thing, held in pairs
            if (now := thing.value(name)) is not None and (was := self._figure(held, name)) is not None
        }
        self.moved[name] = factors
        said = next((r for r in self.mapping.redefined if r.field == name), None)
        if said is not None:
            return {slug: said for slug, f in factors.items() if _near(f, Decimal(said.factor), 2 * RELATIVE_TOLERANCE)}
        factor, slugs = one_factor(factors)
        if factor is None or len(slugs) < 3 or 2 * len(slugs) < len(factors):
            return {}
        text = (
            f"{name} moved by one factor, {factor:.3f}, in {len(slugs)} of {len(factors)} rows: its column was "
            f"redefined, which is no growth. Nothing of it is recorded unless you say how"
        )
        accept = f'[[redefined]]\nfield = "{name}"\nfactor = "{factor:.3f}"\nnote = "…"\nrecord = "leave"'
        self._ask("redefined", name, text, accept)
        return dict.fromkeys(slugs)

    def _figure(self, held: KnownDeal, name: str) -> str | None:
        site = held.site(self.mapping.site.site) if self.mapping.site else None
        value = (site or {}).get(name)
        return None if value in (None, "0", 0) else str(value)

    def _other_columns(self, pairs: Sequence[tuple[_TrackedRow, KnownDeal]]) -> None:
        """Asks about columns of the same unit that stand to what is held by one factor: which of them is meant?"""
        said = self.mapping.site.power_mw if self.mapping.site else None
        sheet = self.sheets.get(said.sheet or "things") if said else None
        mapped = sheet.column(said.column) if sheet and said else None
        if said is None or sheet is None or mapped is None:
            return
        unit = re.search(r"\([^)]*\)$", sheet.header[mapped])
        for i, header in enumerate(sheet.header):
            if i == mapped or unit is None or not header.endswith(unit.group()):
                continue
            other = msgspec.structs.replace(said, column=(header,), by=())
            factors: dict[str, Decimal] = {}
            for thing, held in pairs:
                things = self.sheets["things"]
                assert things is not None
                names = [thing.name, *self._aliases(thing, things)]
                found = self._said(other, thing, things, names)
                now, was = _number(found[0]) if found else None, self._figure(held, "power_mw")
                if now and was is not None:
                    factors[held.slug] = now / Decimal(was)
            factor, slugs = one_factor(factors)
            if factor is not None and len(slugs) >= 3:
                text = (
                    f"'{header}' stands to the power that is held by one factor, {factor:.3f} (1 : {1 / factor:.2f}), "
                    f"in {len(slugs)} of {len(factors)} rows; '{sheet.header[mapped]}' is what the mapping reads"
                )
                self._ask("column", sheet.at(sheet.first, i), text)

    def _aliases(self, thing: _TrackedRow, sheet: Sheet) -> list[str]:
        columns = [sheet.column((also,)) for also in self.mapping.deal.also]
        return [text for column in columns if column is not None and (text := _cell(thing.row, column))]

    # --- what to record -----------------------------------------------------------------------------------------------

    def _add_line(self, slug: str, thing: _TrackedRow, event: DealEvent, note: str | None = None) -> None:
        sheet = self.sheets["things"]
        assert sheet is not None
        source = msgspec.structs.replace(
            self.mapping.source, published_on=self.on, locator=f"{sheet.name}, row {thing.row.number}"
        )
        said = Announcement(event=event, effective_on=self.on, sources=(source,), note=note)
        if isinstance(event, EventCorrected):
            said = Announcement(event=event, note=note)
        said = msgspec.structs.replace(said, id=identified("deal", slug, said))
        self.faults += [CellError(thing.at, f"{f.pointer}: {f.detail}") for f in validation.validate(said, "")]
        self.lines.append(ParsedRow("deal", slug, thing.at, said))

    def _ask(self, kind: Kind, at: str, text: str, accept: str | None = None) -> None:
        self.questions.append(OpenQuestion(kind, at, text, accept))

    def _register(self, thing: _TrackedRow) -> None:
        slug = self._slug(thing.name)
        of = self.mapping.deal
        self._add_line(slug, thing, DealRegistered(title=_title(thing.name), kind=of.kind, sectors=of.sectors))
        self._join(slug, thing, thing.parties)
        site = self.mapping.site
        if site is not None:
            known = {name: value for name, (value, _) in thing.values.items()}
            self._add_line(slug, thing, SiteAnnounced(site=site.site, precision=site.precision, **_site(known)))
        for milestone in self.mapping.milestones:
            if milestone.milestone in thing.planned:
                day, mw, _ = thing.planned[milestone.milestone]
                self._schedule(slug, thing, milestone, day, mw)

    def _join(self, slug: str, thing: _TrackedRow, parties: Sequence[tuple[str, str]]) -> None:
        joined = tuple(
            Party(organization=slugified(who), name=_title(who), role=role)  # type: ignore[arg-type]
            for who, role in parties
            if slugified(who)
        )
        if joined:
            self._add_line(slug, thing, PartiesJoined(parties=joined))

    def _schedule(self, slug: str, thing: _TrackedRow, milestone: MilestoneMapping, day: date, mw: str | None) -> None:
        """A step that lies ahead of the sheet's day; of what lies behind it the sheet is no announcement."""
        if day > self.on:
            site = self.mapping.site.site if self.mapping.site else None
            self._add_line(
                slug,
                thing,
                MilestoneScheduled(
                    milestone=milestone.milestone, kind=milestone.kind, site=site, planned=day.isoformat(), power_mw=mw
                ),
            )

    def _revise(
        self, thing: _TrackedRow, held: KnownDeal, redefined: AnyMapping[str, AnyMapping[str, ColumnRedefined | None]]
    ) -> None:
        if held.name != thing.name and any(s.now == thing.name for s in self.mapping.same):
            self._add_line(held.slug, thing, DealRevised(title=_title(thing.name)))
        parties = {(p["organization"], p["role"]) for p in held.state["parties"] if p["left_on"] is None}
        said = {(slugified(who), role) for who, role in thing.parties}
        self._join(held.slug, thing, [(w, r) for w, r in thing.parties if (slugified(w), r) not in parties])
        for who, role in sorted(parties - said, key=str) if said else ():
            if any(of.role == role for of in self.mapping.parties):
                self._ask(
                    "silent", thing.at, f"'{thing.name}' no longer names {who} as {role}: nobody said that it left"
                )
        if self.mapping.site is not None:
            self._revise_site(thing, held, redefined)
        for milestone in self.mapping.milestones:
            self._revise_milestone(thing, held, milestone)

    def _revise_site(
        self, thing: _TrackedRow, held: KnownDeal, redefined: AnyMapping[str, AnyMapping[str, ColumnRedefined | None]]
    ) -> None:
        assert self.mapping.site is not None
        name = self.mapping.site.site
        site = held.site(name)
        if site is None:
            known = {key: value for key, (value, _) in thing.values.items()}
            if known:
                self._add_line(
                    held.slug, thing, SiteAnnounced(site=name, precision=self.mapping.site.precision, **_site(known))
                )
            return
        changed: dict[str, str] = {}
        for key in _SITE_FIELDS:
            was = (site.get("name") or {}).get("en") if key == "address" else site.get(key)
            if key not in thing.values:
                said = getattr(self.mapping.site, key)
                if key in _FIGURES and was is not None and said is not None:
                    self._ask(
                        "silent", thing.at, f"'{thing.name}' no longer says its {key}, {was}: unknown is not zero"
                    )
                continue
            now, at = thing.values[key]
            if was is not None and _equal(key, str(was), now):
                continue
            path = f"/sites/{name}/{'name' if key == 'address' else key}"
            if was is not None and held.slug in redefined.get(key, {}):
                self._redefine(thing, held, path, key, now, redefined[key][held.slug])
            elif was is not None and self._is_elsewhere(held, path):
                self._ask("elsewhere", at, f"'{thing.name}' has {key} {now}; {was} is held on another source's word")
            else:
                changed[key] = now
        if changed:
            self._add_line(held.slug, thing, SiteRevised(site=name, **_site(changed)))

    def _is_elsewhere(self, held: KnownDeal, path: str) -> bool:
        setter = held.events.get(held.set_by.get(path, ""))
        if setter is None:
            return False
        return self.mapping.source.publisher not in {s.get("publisher") for s in setter["sources"]}

    def _redefine(
        self, thing: _TrackedRow, held: KnownDeal, path: str, key: str, now: str, said: ColumnRedefined | None
    ) -> None:
        setter = held.set_by.get(path)
        if said is None or said.record == "leave" or setter is None or setter not in held.events:
            return
        event = dict(held.events[setter]["event"])
        event[key] = int(now) if key == "gpus" else now
        replacement = msgspec.convert({"event": event}, Replacement)
        self._add_line(
            held.slug, thing, EventCorrected(corrects=UUID(setter), replacement=replacement, reason=said.note)
        )

    def _revise_milestone(self, thing: _TrackedRow, held: KnownDeal, milestone: MilestoneMapping) -> None:
        if milestone.milestone not in thing.planned:
            return
        day, mw, _ = thing.planned[milestone.milestone]
        was = next((m for m in held.state["milestones"] if m["milestone"] == milestone.milestone), None)
        if was is None:
            self._schedule(held.slug, thing, milestone, day, mw)
            return
        if was["reached"] or was["status"] != "planned":
            return
        moved: dict[str, Any] = {}
        if was["planned"] != day.isoformat():
            moved["planned"] = day.isoformat()
        if mw is not None and not (was.get("power_mw") and _equal("power_mw", was["power_mw"], mw)):
            moved["power_mw"] = mw
        if moved and day > self.on:
            self._add_line(held.slug, thing, MilestoneRescheduled(milestone=milestone.milestone, **moved))
        elif day <= self.on:
            if "power_mw" in moved:
                self._add_line(held.slug, thing, MilestoneRescheduled(milestone=milestone.milestone, power_mw=mw))
            self._add_line(held.slug, thing, MilestoneReached(milestone=milestone.milestone, reached=day.isoformat()))

    # --- splits -------------------------------------------------------------------------------------------------------

    def _parts(self, thing: _TrackedRow, held: KnownDeal, new: Sequence[_TrackedRow]) -> None:
        """Asks about a plan that lost exactly what a new row at its place has."""
        was, now = self._figure(held, "power_mw"), thing.value("power_mw")
        if was is None or now is None or Decimal(now) >= Decimal(was):
            return
        lost = Decimal(was) - Decimal(now)
        decided = {name for split in self.mapping.split if split.was == held.name for name in split.into}
        for other in new:
            mw = other.value("power_mw")
            if mw is None or other.name in decided or not self._same_address(held, other):
                continue
            if not any(d.was == held.name and d.now == other.name for d in self.mapping.different):
                exactly = "exactly" if Decimal(mw) == lost else "not"
                self._ask(
                    "split",
                    other.at,
                    f"'{thing.name}' shrank by {format_decimal(lost)} MW, and '{other.name}', new at its address, has {mw} MW "  # noqa: E501
                    f"({exactly} what it lost): was it split?",
                    f"[[split]]\nwas = {_toml(held.name)}\ninto = [{_toml(thing.name)}, {_toml(other.name)}]",
                )

    def _splits(self, things: Sequence[_TrackedRow], matched: AnyMapping[int, KnownDeal | None]) -> None:
        """Relates the parts that a person named to what they were split from."""
        by_name = {thing.name: thing for thing in things}
        for split in self.mapping.split:
            origin = self._held(split.was)
            if origin is None:
                continue
            relation = split.relation or ("separate_from" if split.was in split.into else "supersedes")
            for name in split.into:
                thing = by_name.get(name)
                if thing is None or name == split.was:
                    continue
                held = matched[id(thing)]
                slug = held.slug if held else self._slug(name)
                related = {(r["relation"], r["deal"]) for r in (held.state["relations"] if held else ())}
                if slug != origin.slug and (relation, origin.slug) not in related:
                    self._add_line(slug, thing, DealsRelated(relation=relation, deal=origin.slug), split.note)


# --- small things -----------------------------------------------------------------------------------------------------


def one_factor(factors: AnyMapping[str, Decimal]) -> tuple[Decimal | None, list[str]]:
    """The factor by which most of these moved, other than 1, and which did; None where none moved."""
    best: list[str] = []
    for factor in factors.values():
        if abs(factor - 1) > RELATIVE_TOLERANCE / 2:
            alike = [slug for slug, other in factors.items() if _near(other, factor, RELATIVE_TOLERANCE)]
            best = max(best, alike, key=len)
    if not best:
        return None, []
    middle = sorted(factors[slug] for slug in best)[len(best) // 2]
    return middle, best


def slugified(name: str) -> str:
    """A name as a slug: its letters and digits without accents, the rest as hyphens."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:60].strip("-")


def _named(part: str, sheets: Iterable[Sheet]) -> Sheet | None:
    return next((sheet for sheet in sheets if part.casefold() in sheet.name.casefold()), None)


def _cell(row: SheetRow, column: int | None) -> str:
    return row.cells[column] if column is not None and column < len(row.cells) else ""


def _number(text: str) -> Decimal | None:
    digits = text.replace(",", "").strip()
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", digits, re.ASCII):
        return None
    return Decimal(digits)


def _degrees(text: str) -> str:
    """Decimal degrees of a coordinate in degrees, minutes and seconds, or already decimal. Raises ValueError."""
    compact = re.sub(r"\s+", "", text).replace("′", "'").replace("″", '"').replace("’", "'").replace("”", '"')
    if found := re.fullmatch(r"(\d{1,3})°(\d{1,2})'(\d{1,2}(?:\.\d+)?)\"([NSEW])", compact, re.ASCII):
        degrees = Decimal(found[1]) + Decimal(found[2]) / 60 + Decimal(found[3]) / 3600
        value = -degrees if found[4] in "SW" else degrees
    elif re.fullmatch(r"-?\d{1,3}(\.\d+)?", compact, re.ASCII):
        value = Decimal(compact)
    else:
        raise ValueError(f"'{text}' is no coordinate")
    return format_decimal(value.quantize(Decimal("0.000001"), ROUND_HALF_EVEN))


def _equal(key: str, was: str, now: str) -> bool:
    if key in ("address", "place"):
        return was == now
    return Decimal(was) == Decimal(now)


def _near(one: Decimal, other: Decimal, part: Decimal) -> bool:
    return abs(one - other) <= part * other


def _site(values: AnyMapping[str, str]) -> dict[str, Any]:
    """A site's fields from the sheet's."""
    made: dict[str, Any] = {name: value for name, value in values.items() if name != "address"}
    if "address" in values:
        made["name"] = Localized(en=values["address"])
    if "gpus" in made:
        made["gpus"] = int(made["gpus"])
    return made


def _title(name: str) -> Localized:
    korean = re.search("[가-힣]", name) is not None
    return Localized(ko=name) if korean else Localized(en=name)


def _begins(name: str, with_: str) -> bool:
    folded, start = name.casefold(), with_.casefold()
    return folded.startswith(start) and not folded[len(start) : len(start) + 1].isalnum()


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


__all__ = ["ImportPlan", "KnownDeal", "OpenQuestion", "Source", "plan", "slugified"]
