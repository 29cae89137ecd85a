"""The announcements that record what a sheet's rows change in the recorded deals."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from registry.events import validation
from registry.events.types import (
    Announcement,
    DealEvent,
    DealRegistered,
    DealRevised,
    DealsRelated,
    EventCorrected,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    PartiesJoined,
    Replacement,
    SiteAnnounced,
    SiteRevised,
)
from registry.events.values import Party, decode_hook
from registry.imports.announcements import ParsedRow, content_id
from registry.imports.mapping import ColumnRedefined, MilestoneMapping
from registry.imports.messages import ImportText
from registry.imports.tracker.plan import KnownDeal, OpenQuestion, PlannedMilestone, TrackedRow
from registry.imports.tracker.redefinition import Redefinitions
from registry.imports.tracker.rows import RowReader
from registry.imports.tracker.values import CAPACITY_FIELDS, SITE_FIELDS, are_equal, site_fields, slugify, title_of
from registry.imports.workbook import CellError


class ChangeBuilder:
    """Collects the announcements of a sheet, which apply from its day, and the questions about what it omits."""

    def __init__(self, reader: RowReader, on: date) -> None:
        self.reader = reader
        self.mapping = reader.mapping
        self.on = on
        self.announcements: list[ParsedRow] = []
        self.questions: list[OpenQuestion] = []
        self.errors: list[CellError] = []

    def announce(self, slug: str, row: TrackedRow, event: DealEvent, note: str | None = None) -> None:
        """Add an announcement that cites the row as its source."""
        if isinstance(event, EventCorrected):
            body = Announcement(event=event, note=note)
        else:
            locator = f"{self.reader.main.name}, row {row.sheet_row.number}"
            source = msgspec.structs.replace(self.mapping.source, published_on=self.on, locator=locator)
            body = Announcement(event=event, effective_on=self.on, sources=(source,), note=note)
        body = msgspec.structs.replace(body, id=content_id("deal", slug, body))
        self.errors += [
            CellError(row.at, ImportText("value-invalid", field=error.pointer, problem=error))
            for error in validation.validate(body, "")
        ]
        self.announcements.append(ParsedRow("deal", slug, row.at, body))

    # --- new deals ----------------------------------------------------------------------------------------------------

    def register(self, row: TrackedRow) -> None:
        """Announce the deal of a new row, with its parties, its site and its milestones."""
        slug = self.reader.slug_of(row.name)
        deal = self.mapping.deal
        self.announce(slug, row, DealRegistered(title=title_of(row.name), kind=deal.kind, sectors=deal.sectors))
        self._join_parties(slug, row, row.parties)
        if self.mapping.site is not None:
            self._announce_site(slug, row)
        for milestone in self.mapping.milestones:
            if milestone.milestone in row.planned:
                self._schedule(slug, row, milestone, row.planned[milestone.milestone])

    def _announce_site(self, slug: str, row: TrackedRow) -> None:
        assert self.mapping.site is not None
        fields = site_fields({name: cell.text for name, cell in row.values.items()})
        site = SiteAnnounced(site=self.mapping.site.site, precision=self.mapping.site.precision, **fields)
        self.announce(slug, row, site)

    def _join_parties(self, slug: str, row: TrackedRow, parties: Sequence[tuple[str, str]]) -> None:
        joined = tuple(
            Party(organization=slugify(name), name=title_of(name), role=role)  # type: ignore[arg-type]
            for name, role in parties
            if slugify(name)
        )
        if joined:
            self.announce(slug, row, PartiesJoined(parties=joined))

    def _schedule(self, slug: str, row: TrackedRow, milestone: MilestoneMapping, planned: PlannedMilestone) -> None:
        """Announce a milestone after the sheet's day. An earlier date in a sheet is no announcement of a plan."""
        if planned.on > self.on:
            event = MilestoneScheduled(
                milestone=milestone.milestone,
                kind=milestone.kind,
                site=self.mapping.site.site if self.mapping.site else None,
                planned=planned.on.isoformat(),
                power_mw=planned.power_mw,
            )
            self.announce(slug, row, event)

    # --- recorded deals -----------------------------------------------------------------------------------------------

    def revise(self, row: TrackedRow, deal: KnownDeal, redefined: AnyMapping[str, Redefinitions]) -> None:
        """Announce the changes of a recorded deal."""
        if deal.name != row.name and any(renamed.now == row.name for renamed in self.mapping.same):
            self.announce(deal.slug, row, DealRevised(title=title_of(row.name)))
        self._revise_parties(row, deal)
        if self.mapping.site is not None:
            self._revise_site(row, deal, redefined)
        for milestone in self.mapping.milestones:
            self._revise_milestone(row, deal, milestone)

    def _revise_parties(self, row: TrackedRow, deal: KnownDeal) -> None:
        recorded = {(p["organization"], p["role"]) for p in deal.state["parties"] if p["left_on"] is None}
        named = {(slugify(name), role) for name, role in row.parties}
        self._join_parties(deal.slug, row, [(n, role) for n, role in row.parties if (slugify(n), role) not in recorded])
        for organization, role in sorted(recorded - named, key=str) if named else ():
            if any(party.role == role for party in self.mapping.parties):
                message = ImportText("party-not-named", name=row.name, organization=organization, role=role)
                self.questions.append(OpenQuestion("silent", row.at, message))

    def _revise_site(self, row: TrackedRow, deal: KnownDeal, redefined: AnyMapping[str, Redefinitions]) -> None:
        assert self.mapping.site is not None
        name = self.mapping.site.site
        site = deal.site(name)
        if site is None:
            if row.values:
                self._announce_site(deal.slug, row)
            return
        changed: dict[str, str] = {}
        for field in SITE_FIELDS:
            before = (site.get("name") or {}).get("en") if field == "address" else site.get(field)
            if field not in row.values:
                is_mapped = getattr(self.mapping.site, field) is not None
                if field in CAPACITY_FIELDS and before is not None and is_mapped:
                    message = ImportText("value-gone", name=row.name, field=field, value=str(before))
                    self.questions.append(OpenQuestion("silent", row.at, message))
                continue
            after, at = row.values[field].text, row.values[field].at
            if before is not None and are_equal(field, str(before), after):
                continue
            path = f"/sites/{name}/{'name' if field == 'address' else field}"
            if before is not None and deal.slug in redefined.get(field, {}):
                self._correct_redefined(row, deal, path, field, after, redefined[field][deal.slug])
            elif before is not None and self._is_set_by_another_source(deal, path):
                message = ImportText("other-source", name=row.name, field=field, value=after, recorded=str(before))
                self.questions.append(OpenQuestion("elsewhere", at, message))
            else:
                changed[field] = after
        if changed:
            self.announce(deal.slug, row, SiteRevised(site=name, **site_fields(changed)))

    def _is_set_by_another_source(self, deal: KnownDeal, path: str) -> bool:
        event = deal.events.get(deal.set_by.get(path, ""))
        if event is None:
            return False
        return self.mapping.source.publisher not in {source.get("publisher") for source in event["sources"]}

    def _correct_redefined(
        self,
        row: TrackedRow,
        deal: KnownDeal,
        path: str,
        field: str,
        value: str,
        decision: ColumnRedefined | None,
    ) -> None:
        """Announce the correction of a value that changed by its column's factor, if the editor decided so."""
        event_id = deal.set_by.get(path)
        if decision is None or decision.record == "leave" or event_id is None or event_id not in deal.events:
            return
        event: dict[str, Any] = dict(deal.events[event_id]["event"])
        event[field] = int(value) if field == "gpus" else value
        replacement = msgspec.convert({"event": event}, Replacement, dec_hook=decode_hook)
        correction = EventCorrected(corrects=UUID(event_id), replacement=replacement, reason=decision.note)
        self.announce(deal.slug, row, correction)

    def _revise_milestone(self, row: TrackedRow, deal: KnownDeal, milestone: MilestoneMapping) -> None:
        name = milestone.milestone
        if name not in row.planned:
            return
        planned = row.planned[name]
        recorded = next((m for m in deal.state["milestones"] if m["milestone"] == name), None)
        if recorded is None:
            self._schedule(deal.slug, row, milestone, planned)
            return
        if recorded["reached"] or recorded["status"] != "planned":
            return
        day, power_mw = planned.on.isoformat(), planned.power_mw
        has_new_power = power_mw is not None and not (
            recorded.get("power_mw") and are_equal("power_mw", recorded["power_mw"], power_mw)
        )
        changes: dict[str, Any] = {"planned": day} if recorded["planned"] != day else {}
        changes |= {"power_mw": power_mw} if has_new_power else {}
        if planned.on > self.on:
            if changes:
                self.announce(deal.slug, row, MilestoneRescheduled(milestone=name, **changes))
            return
        if has_new_power:
            self.announce(deal.slug, row, MilestoneRescheduled(milestone=name, power_mw=power_mw))
        self.announce(deal.slug, row, MilestoneReached(milestone=name, reached=day))

    # --- splits -------------------------------------------------------------------------------------------------------

    def relate_splits(
        self,
        rows: Sequence[TrackedRow],
        matched: AnyMapping[str, KnownDeal | None],
        origins: Sequence[KnownDeal | None],
    ) -> None:
        """Announce the relations of the parts in the mapping's splits to the deals that were split.

        Args:
            matched: The recorded deal of each row, by the row's name.
            origins: The recorded deal of each split.
        """
        by_name = {row.name: row for row in rows}
        for split, origin in zip(self.mapping.split, origins, strict=True):
            if origin is None:
                continue
            relation = split.relation or ("separate_from" if split.was in split.into else "supersedes")
            for name in split.into:
                row = by_name.get(name)
                if row is None or name == split.was:
                    continue
                deal = matched[name]
                slug = deal.slug if deal else self.reader.slug_of(name)
                existing = {(r["relation"], r["deal"]) for r in (deal.state["relations"] if deal else ())}
                if slug != origin.slug and (relation, origin.slug) not in existing:
                    self.announce(slug, row, DealsRelated(relation=relation, deal=origin.slug), split.note)
