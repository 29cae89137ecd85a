"""The plan of an import: everything that an edition of a tracker's sheets adds to the registry.

The sheet is read once, in pieces. What is to be recorded goes to a temporary file, so memory does not grow with the
rows; only the keys are held. Rows whose key is not recorded wait until the end, where it is known which deals are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date

from msgspec import Struct, field

from registry.events.types import Announcement, DealEvent, DealsRelated, PartiesJoined, SiteAnnounced, StatusObserved
from registry.imports import values
from registry.imports.announcements import ParsedRow
from registry.imports.mapping.spec import Mapping
from registry.imports.messages import ImportText
from registry.imports.report import PROBLEM_COLUMNS
from registry.imports.spool import Spool
from registry.imports.tracker.cells import CellReader, JoinedRows
from registry.imports.tracker.changes import ChangeBuilder, PlannedAnnouncement, Ratio, RowChanges, redefinition
from registry.imports.tracker.matching import Decision, GoneDeal, NewRow, RowMatcher
from registry.imports.tracker.questions import Answers, OpenQuestion
from registry.imports.tracker.registry import KnownDeal, Registry, in_pieces
from registry.imports.tracker.rows import RowReader, StatedDeal
from registry.imports.workbook import CellError, Sheet, SheetRow, Table, named_first, normalized

PIECE = 500
"""Rows that are compared with the registry at a time."""

MIN_REDEFINED = 3
"""How many values of a column must have changed by one factor before a changed definition is suspected."""

MAX_LISTED = 10
"""Merged cells that a note lists."""

Progress = Callable[[int], None]


class Plan(Struct):
    """What an import adds to the registry.

    Attributes:
        sheet: The name of the sheet.
        header_row: The number of the row with its header.
        rows: How many rows were read.
        skipped: How many of them the mapping leaves out.
        known: How many rows were recorded by an earlier import of the same sheet.
        undated: How many new deals have no stated date: they are known from their source's date.
        unstated: Recorded values for which the sheet no longer has one, by field. They stay recorded.
        gone: The keys of recorded deals that the sheet no longer has. They are not withdrawn.
        notes: What the mapping and the sheet disagree about.
        errors: What is wrong in rows that are refused.
        questions: What an editor has to decide.
        suspected: Factors of columns that may have been redefined.
        withheld: Deals whose changed numbers wait for an answer.
    """

    spool: Spool
    sheet: str = ""
    header_row: int = 0
    rows: int = 0
    skipped: int = 0
    known: int = 0
    undated: int = 0
    unstated: Counter[str] = field(default_factory=Counter)
    gone: list[str] = field(default_factory=list)
    notes: list[ImportText] = field(default_factory=list)
    errors: list[CellError] = field(default_factory=list)
    questions: list[OpenQuestion] = field(default_factory=list)
    suspected: set[Ratio] = field(default_factory=set)
    withheld: set[str] = field(default_factory=set)

    def lines(self) -> Iterator[ParsedLine]:
        """The lines to record. Changed numbers that wait for an answer are left out."""
        for one in self.spool.read(tuple[int, str, str, int, bytes]):
            row, slug, column, step, line = one
            if not column or (slug not in self.withheld and Ratio(column, step) not in self.suspected):
                yield ParsedLine(row, slug, line)


class ParsedLine(Struct, frozen=True, gc=False):
    """A line of an import, the row that it comes from, and its deal."""

    row: int
    slug: str
    line: bytes


def open_table(sheets: Sequence[Sheet], mapping: Mapping) -> Table | None:
    """The table that the mapping describes: the first one with the columns of the key."""
    needed = [{normalized(name) for name in names} for names in mapping.key_columns]

    def has_key(cells: Sequence[str]) -> bool:
        found = {normalized(cell) for cell in cells}
        return all(names & found for names in needed)

    # A single sheet may have another name, such as a report of refused rows.
    for sheet in named_first(sheets, mapping.sheet.name):
        table = sheet.table(has_key, mapping.sheet.header)
        if table is not None:
            return table
    return None


def joined_rows(sheets: Sequence[Sheet], mapping: Mapping, table: Table) -> dict[str, JoinedRows]:
    """The rows of the other sheets that the mapping joins, by the join's name; a missing sheet is left out."""
    joined = {}
    for name, join in mapping.joins.items():
        other = next((s for s in sheets if join.sheet.casefold() in s.name.casefold() and s.name != table.name), None)
        needed = {normalized(one) for one in join.key}
        found = other.table(lambda cells, needed=needed: needed & {normalized(c) for c in cells}) if other else None  # type: ignore[misc]
        if found is not None:
            joined[name] = JoinedRows(found, join, mapping.decimal)
    return joined


def make_plan(
    sheets: Sequence[Sheet],
    mapping: Mapping,
    published_on: date,
    registry: Registry,
    answers: Answers,
    progress: Progress = lambda _: None,
) -> Plan | None:
    """The plan that records what an edition of a tracker changes; None if no sheet has the key's columns.

    Args:
        sheets: The sheets of the files.
        mapping: What their columns mean.
        published_on: The day of the edition: changes apply from it, and deals are compared as known on it.
        registry: The recorded deals.
        answers: What an editor decided.
        progress: Called with the number of rows read.
    """
    table = open_table(sheets, mapping)
    if table is None:
        return None
    joined = joined_rows(sheets, mapping, table)
    planner = _Planner(RowReader(CellReader(mapping, table, joined, published_on)), registry, answers)
    planner.plan.notes += [
        ImportText("sheet-missing", part=join.sheet) for name, join in mapping.joins.items() if name not in joined
    ]
    try:
        planner.read(table, progress)
    except BaseException:
        planner.plan.spool.close()
        raise
    finally:
        planner.waiting.close()
    return planner.plan


class _Planner:
    """Makes a plan."""

    def __init__(self, reader: RowReader, registry: Registry, answers: Answers) -> None:
        self.reader = reader
        self.mapping = reader.mapping
        self.on = reader.cells.published_on
        self.registry = registry
        self.changes = ChangeBuilder(reader, registry, answers)
        self.answers = answers
        table = reader.cells.table
        self.plan = Plan(Spool(), sheet=table.name, header_row=table.header_row)
        missing = reader.missing_columns
        if missing:
            self.plan.notes.append(ImportText("columns-missing", columns=tuple(missing)))
        # The keys of the scheme that are recorded and have not been seen in the sheet yet, with their deals.
        self.unseen = dict(registry.keys(self.mapping.scheme))
        # The deals of the keys that have been seen. One that was renamed also has its earlier key.
        self.seen: set[str] = set()
        self.has_earlier_edition = bool(self.unseen)
        self.first_row: dict[str, int] = {}
        self.slugs: dict[str, str] = {}
        self.waiting = Spool()

    def read(self, table: Table, progress: Progress) -> None:
        """Read the rows and compare them with the registry."""
        for rows in in_pieces(table.rows, PIECE):
            stated = [one for row in rows if (one := self._read_row(row)) is not None]
            self._compare(stated)
            progress(self.plan.rows)
        below = [one for one in table.merged if one.first > table.header_row]
        merged = [one.cells for one in sorted(below, key=lambda one: one.first)]
        if merged:
            listed = ", ".join(merged[:MAX_LISTED]) + (" …" if len(merged) > MAX_LISTED else "")
            self.plan.notes.append(ImportText("cells-merged", cells=listed))
        self._finish()

    def _read_row(self, row: SheetRow) -> StatedDeal | None:
        self.plan.rows += 1
        stated = self.reader.read(row)
        if stated is None:
            self.plan.skipped += 1
            return None
        if not stated.errors and (first := self.first_row.setdefault(stated.key, row.number)) != row.number:
            problem = ImportText("key-repeated", key=stated.key, row=first)
            stated.errors.append(self.reader.cells.table.error(row, None, problem))
        if stated.errors:
            self.plan.errors += stated.errors
            return None
        return stated

    def _compare(self, stated: list[StatedDeal]) -> None:
        recorded = self.registry.recorded([one.marker for one in stated]) if self.has_earlier_edition else set()
        open_rows: list[StatedDeal] = []
        for one in stated:
            if one.marker in recorded:
                self.plan.known += 1
                self._see(one.key)
            else:
                self.reader.state_facts(one)
                if one.errors:
                    self.plan.errors += one.errors
                    self._see(one.key)
                else:
                    open_rows.append(one)
        keys = [one.key for one in open_rows]
        known = self.registry.deals(self.mapping.scheme, keys, self.on) if self.has_earlier_edition else {}
        for one in open_rows:
            deal = known.get(one.key)
            if deal is not None:
                self._see(one.key)
                self._revise(one, deal)
            elif self.has_earlier_edition:
                self.waiting.add((one.row.number, one.row.cells))
            else:
                self._register(one)

    def _see(self, key: str) -> None:
        if slug := self.unseen.pop(key, None):
            self.seen.add(slug)

    def _revise(self, stated: StatedDeal, deal: KnownDeal) -> None:
        if deal.state is None:
            problem = ImportText("recorded-later", name=stated.title)
            self.plan.errors.append(self.reader.cells.table.error(stated.row, None, problem))
            return
        self._take(stated, self.changes.revise(stated, deal))

    def _register(self, stated: StatedDeal) -> None:
        self.plan.undated += stated.is_undated
        self._take(stated, self.changes.register(stated, self._slug(stated.key)))

    def _slug(self, key: str) -> str:
        """The slug of a new deal: its key; with a digest if another key reads the same."""
        slug = self.mapping.slug + values.slugify(key)
        if self.slugs.setdefault(slug, key) != key:
            slug = f"{slug}-{values.digest(key)}"
        return slug

    def _take(self, stated: StatedDeal, changes: RowChanges) -> None:
        if stated.errors:
            self.plan.errors += stated.errors
            return
        self.plan.questions += changes.questions
        self.plan.unstated.update(changes.unstated)
        for one in changes.announcements:
            self._spool(one)

    def _spool(self, one: PlannedAnnouncement) -> None:
        line = ParsedRow("deal", one.slug, "", one.body).ndjson()
        column, step = (one.ratio.column, one.ratio.step) if one.ratio is not None else ("", 0)
        self.plan.spool.add((one.row, one.slug, column, step, line))

    # --- at the end ---------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        for column in self.changes.compared:
            self._suspect_redefinition(column)
        if self.has_earlier_edition:
            # A report of refused rows is a part of an edition: nothing is gone.
            is_report = PROBLEM_COLUMNS[-1] in self.reader.cells.table.header
            gone = [] if is_report else list(self._gone())
            matcher = RowMatcher(gone, self.changes.shrunk, self.answers)
            decision = matcher.decide(self._new_row(one) for one in self._waiting_rows())
            self.plan.questions += decision.questions
            self.plan.withheld |= decision.shrinking
            for one in self._waiting_rows():
                self._decided(one, decision)
            self._report_gone([one for one in gone if one.key not in decision.answered])

    def _gone(self) -> Iterator[GoneDeal]:
        gone = [key for key, slug in self.unseen.items() if slug not in self.seen]
        for keys in in_pieces(gone, PIECE):
            for key, deal in self.registry.deals(self.mapping.scheme, keys, self.on).items():
                if deal.state is not None:
                    yield GoneDeal(key, deal)

    def _waiting_rows(self) -> Iterator[StatedDeal]:
        for number, cells in self.waiting.read(tuple[int, tuple[str, ...]]):
            stated = self.reader.read(SheetRow(number, cells))
            assert stated is not None
            self.reader.state_facts(stated)
            yield stated

    def _new_row(self, stated: StatedDeal) -> NewRow:
        at = self.reader.cells.table.at(stated.row.number, 0)
        sites = [fact.event for fact in stated.facts if isinstance(fact.event, SiteAnnounced)]
        texts = [text for site in sites for text in (site.address, *(site.name or {}).values()) if text]
        parties = [p for fact in stated.facts if isinstance(fact.event, PartiesJoined) for p in fact.event.parties]
        organizations = frozenset(party.organization for party in parties)
        return NewRow(stated.key, stated.title, at, tuple(text.casefold() for text in texts), organizations)

    def _decided(self, stated: StatedDeal, decision: Decision) -> None:
        if stated.key in decision.waiting:
            return
        if slug := decision.same.get(stated.key):
            old = next(key for key, other in self.unseen.items() if other == slug)
            self._revise(stated, self.registry.deals(self.mapping.scheme, [old], self.on)[old])
            return
        self._register(stated)
        slug = self._slug(stated.key)
        if origin := decision.supersedes.get(stated.key):
            self._relate(stated, slug, DealsRelated(relation="supersedes", deal=origin))
        elif origin := decision.separate_from.get(stated.key):
            self._relate(stated, slug, DealsRelated(relation="separate_from", deal=origin))

    def _relate(self, stated: StatedDeal, slug: str, event: DealsRelated) -> None:
        body = self.reader.announcement(stated, slug, event, self.on)
        self._spool(PlannedAnnouncement(slug, stated.row.number, body))

    def _report_gone(self, gone: list[GoneDeal]) -> None:
        """A row that is gone withdraws nothing. By the mapping's policy, its deal is observed in a stage."""
        self.plan.gone = [one.key for one in gone]
        policy = self.mapping.gone
        for one in gone if policy is not None else ():
            assert policy is not None
            if ((one.deal.state or {}).get("stage") or {}).get("value") != policy.stage:
                event = StatusObserved(stage=policy.stage, certainty=policy.certainty)
                self._spool(PlannedAnnouncement(one.deal.slug, 0, self._about_gone(one, event)))

    def _about_gone(self, gone: GoneDeal, event: DealEvent) -> Announcement:
        stated = self.reader.without_row(gone.key)
        note = str(ImportText("row-gone", name=self.reader.cells.table.name))
        return self.reader.announcement(stated, gone.deal.slug, event, self.on, note)

    def _suspect_redefinition(self, column: str) -> None:
        counts = {ratio.step: n for ratio, n in self.changes.ratios.items() if ratio.column == column and ratio.step}
        if not counts:
            return
        sums = {step: sum(counts.get(step + d, 0) for d in (-1, 0, 1)) for step in counts}
        step = max(sums, key=lambda one: (sums[one], counts[one]))
        changed, total = sums[step], self.changes.compared[column]
        if changed >= MIN_REDEFINED and 2 * changed >= total:
            question = redefinition(Ratio(column, step), changed, total)
            if question.id not in self.answers:
                self.plan.questions.append(question)
                self.plan.suspected |= {Ratio(column, step + difference) for difference in (-1, 0, 1)}
