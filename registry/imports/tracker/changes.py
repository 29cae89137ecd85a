"""What a row changes in its recorded deal: each changed value becomes an event, a question, or nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec import Struct, field

from registry.events.edtf import first_day
from registry.events.types import (
    Announcement,
    DealEvent,
    DealRegistered,
    Event,
    EventCorrected,
    MetricReported,
    MilestoneReached,
    PartiesJoined,
    Replacement,
    StageChanged,
    StatusObserved,
)
from registry.events.values import decode_hook
from registry.imports.mapping.blocks import AMOUNT_PARTS
from registry.imports.mapping.spec import ColumnValue, Leaf, Policy, TextValue
from registry.imports.messages import ImportText
from registry.imports.tracker.questions import Answers, OpenQuestion, QuestionKind
from registry.imports.tracker.registry import KnownDeal, Registry, SetBy
from registry.imports.tracker.rows import RowReader, StatedDeal, StatedFact
from registry.imports.values import equal

RATIO_STEP = 0.01
"""Two factors that differ by no more than about this part are the same."""


class Ratio(Struct, frozen=True):
    """By which factor a value of a column changed, as a number of steps; 0 is about unchanged."""

    column: str
    step: int

    @property
    def factor(self) -> str:
        """The factor, such as 1.20."""
        return f"{math.exp(self.step * RATIO_STEP):.2f}"


class PlannedAnnouncement(Struct, frozen=True):
    """An announcement for a deal, the row that it comes from, and the factor by which it changes a number."""

    slug: str
    row: int
    body: Announcement
    ratio: Ratio | None = None


class RowChanges(Struct):
    """What a row adds to the registry, and what is asked about it."""

    announcements: list[PlannedAnnouncement] = field(default_factory=list)
    questions: list[OpenQuestion] = field(default_factory=list)
    unstated: list[str] = field(default_factory=list)


class ChangeBuilder:
    """Compares rows with their recorded deals. Changes apply from the sheet's day."""

    def __init__(self, reader: RowReader, registry: Registry, answers: Answers) -> None:
        self.reader = reader
        self.mapping = reader.mapping
        self.on = reader.cells.published_on
        self.registry = registry
        self.answers = answers
        # How many values of a column were compared, and how many changed by one factor.
        self.compared: Counter[str] = Counter()
        self.ratios: Counter[Ratio] = Counter()
        # Deals whose plan shrank, with the lost amount, by their address.
        self.shrunk: dict[str, tuple[str, str, str]] = {}

    # --- new deals ----------------------------------------------------------------------------------------------------

    def register(self, stated: StatedDeal, slug: str) -> RowChanges:
        """The announcements of a new deal. Its identifier comes last, so that an interrupted import is completed."""
        changes = RowChanges()
        for fact in stated.facts:
            self._announce(changes, stated, slug, cast(DealEvent, fact.event), fact.date or fact.effective_on)
        known_on = stated.facts[0].date or stated.facts[0].effective_on
        identified = self.reader.identified(stated, slug, known_on)
        changes.announcements.append(PlannedAnnouncement(slug, stated.row.number, identified))
        return changes

    def _announce(
        self,
        changes: RowChanges,
        stated: StatedDeal,
        slug: str,
        event: DealEvent,
        on: date | str | None,
        ratio: Ratio | None = None,
        note: str | None = None,
    ) -> None:
        body = self.reader.announcement(stated, slug, event, on, note)
        changes.announcements.append(PlannedAnnouncement(slug, stated.row.number, body, ratio))

    # --- recorded deals -----------------------------------------------------------------------------------------------

    def revise(self, stated: StatedDeal, deal: KnownDeal) -> RowChanges:
        """The announcements of what differs between a row and its recorded deal."""
        assert deal.state is not None
        comparison = _RowComparison(self, stated, deal)
        for fact in stated.facts:
            comparison.compare(fact)
        comparison.note_parties_not_named()
        identifiers = {(one["scheme"], one["value"]) for one in deal.state.get("identifiers") or ()}
        if (self.mapping.scheme, stated.key) not in identifiers:
            body = self.reader.identified(stated, deal.slug, self.on)
            comparison.changes.announcements.append(PlannedAnnouncement(deal.slug, stated.row.number, body))
        return comparison.changes


class _RowComparison:
    """Compares one row with its recorded deal."""

    def __init__(self, builder: ChangeBuilder, stated: StatedDeal, deal: KnownDeal) -> None:
        self.builder = builder
        self.stated = stated
        self.deal = deal
        self.state: Mapping[str, Any] = deal.state or {}
        self.changes = RowChanges()
        self._set_by: dict[str, SetBy] | None = None
        # Events in the making by the thing that they revise: a row revises it once.
        self._corrections: dict[UUID, dict[str, Any]] = {}

    def announce(self, event: Event, on: date | str | None = None, ratio: Ratio | None = None) -> None:
        """Add an announcement of the deal that applies from the sheet's day, or from a date that the row states."""
        self.builder._announce(
            self.changes, self.stated, self.deal.slug, cast(DealEvent, event), on or self.builder.on, ratio
        )

    def compare(self, fact: StatedFact) -> None:
        """Announce a fact that is new, or what differs from the recorded one."""
        match fact.event:
            case DealRegistered():
                self._compare_fields(fact, self.state, "", {})
            case PartiesJoined(parties=(party,)):
                recorded = self._party(party.organization, party.role)
                stated = msgspec.to_builtins(party)
                if recorded is None or any(
                    not equal(recorded.get(name), stated[name]) for name in ("share", "certainty") if name in stated
                ):
                    self.announce(fact.event)
            case StageChanged(stage=stage) | StatusObserved(stage=stage):
                if (self.state.get("stage") or {}).get("value") != stage:
                    self.announce(fact.event, (fact.date or fact.effective_on) if fact.is_dated else None)
            case MilestoneReached():
                self._compare_reached(fact, fact.event)
            case _:
                self._compare_item(fact)

    def note_parties_not_named(self) -> None:
        """A party that the sheet no longer names has not left; roles that the sheet does not have are not compared."""
        stated = [fact.event.parties[0] for fact in self.stated.facts if isinstance(fact.event, PartiesJoined)]
        named = {(party.organization, party.role) for party in stated}
        roles = {party.role for party in stated}
        for party in self.state.get("parties") or ():
            is_current = party.get("left_on") is None and party.get("role") in roles
            if is_current and (party["organization"], party.get("role")) not in named:
                self.changes.unstated.append("party")

    def _party(self, organization: str, role: str | None) -> Mapping[str, Any] | None:
        parties = (one for one in self.state.get("parties") or () if one.get("left_on") is None)
        return next((p for p in parties if (p["organization"], p.get("role")) == (organization, role)), None)

    def _compare_item(self, fact: StatedFact) -> None:
        stated = msgspec.to_builtins(fact.event)
        recorded = self._item(fact, stated)
        if recorded is None:
            self.announce(fact.event, (fact.date or fact.effective_on) if fact.is_dated else None)
            return
        name = fact.type.ids[0]
        item = fact.event.metric_id if isinstance(fact.event, MetricReported) else stated[name]
        ids = {id_: stated[id_] for id_ in fact.type.ids if id_ in stated}
        self._compare_fields(fact, recorded, f"/{fact.type.list}/{item}", ids)
        self._compare_date(fact, recorded, f"/{fact.type.list}/{item}")

    def _item(self, fact: StatedFact, stated: Mapping[str, Any]) -> Mapping[str, Any] | None:
        items = self.state.get(fact.type.list) or ()
        return next(
            (item for item in items if all(equal(item.get(name), stated.get(name)) for name in fact.type.ids)), None
        )

    def _compare_fields(self, fact: StatedFact, recorded: Mapping[str, Any], path: str, ids: Mapping[str, Any]) -> None:
        stated = msgspec.to_builtins(fact.event)
        for name, leaf in fact.fields.items():
            if name in fact.type.ids or name == "reached" or ("amount" in stated and name in AMOUNT_PARTS):
                continue
            if name not in stated:
                if name in recorded and recorded[name] not in (None, [], {}) and isinstance(leaf.value, ColumnValue):
                    self.changes.unstated.append(name)
                continue
            before, after = recorded.get(name), stated[name]
            if isinstance(after, dict) and isinstance(before, Mapping) and name != "amount":
                # A text in one language, or the codes of one axis: the others stay.
                kept = {key: value for key, value in before.items() if value is not None}
                after = {**kept, **after}
            if isinstance(leaf.value, ColumnValue) and _number(before) is not None and _number(after) is not None:
                self.builder.compared[leaf.value.column[0]] += 1
            if not equal(before, after):
                self._change(fact, leaf, f"{path}/{name}", name, before, after, ids)

    def _compare_date(self, fact: StatedFact, recorded: Mapping[str, Any], path: str) -> None:
        """Ask about a stated date of announcement that differs from the recorded one."""
        before = recorded.get(fact.type.starts_on)
        leaf = fact.block.effective_on or self.builder.mapping.effective_on
        if not fact.is_dated or leaf is None or before in (None, fact.effective_on.isoformat()):
            return
        policy = self._policy(fact, leaf, default="ask")
        after = fact.effective_on.isoformat()
        subject = (self.stated.key, f"{path}/effective_on", str(before), after)
        if policy == "ask":
            policy = self._asked("changed", leaf, subject, "effective_on", str(before), after)
        if policy == "correction":
            setter = self._setter(f"{path}/{fact.type.starts_on}") or self._setter(f"{path}/{fact.type.ids[0]}")
            if setter is not None:
                self._correct(setter, {"date": fact.date} if fact.date else {"effective_on": after}, None)

    def _compare_reached(self, fact: StatedFact, event: MilestoneReached) -> None:
        recorded = next((m for m in self.state.get("milestones") or () if m["milestone"] == event.milestone), None) or {
            "status": "planned"
        }
        if recorded.get("status") == "planned":
            self.announce(event, fact.effective_on)
        elif recorded.get("reached") not in (None, event.reached):
            leaf = fact.fields["reached"]
            path = f"/milestones/{event.milestone}/reached"
            self._change(fact, leaf, path, "reached", recorded["reached"], event.reached, {})

    # --- one changed value --------------------------------------------------------------------------------------------

    def _change(
        self, fact: StatedFact, leaf: Leaf, path: str, name: str, before: Any, after: Any, ids: Mapping[str, Any]
    ) -> None:
        is_past = name == "reached" or self._is_of_the_past(fact)
        default: Policy = "ask" if (is_past or name == "planned") and before is not None else "world"
        policy = self._policy(fact, leaf, default)
        subject = (self.stated.key, path, _brief(before), _brief(after))
        if before is not None and policy == "world" and self._is_of_another_source(path):
            policy = self._asked("elsewhere", leaf, subject, name, _brief(before), _brief(after))
        if policy == "ask":
            policy = self._asked("changed", leaf, subject, name, _brief(before), _brief(after))
        is_stated_policy = self._policy(fact, leaf, default="ask") == "world"
        ratio = self._ratio(leaf, before, after)
        if ratio is not None and not is_stated_policy:
            self.builder.ratios[ratio] += 1
        if ratio is not None and _is_less(after, before):
            self._remember_shrunk(before, after)
        if ratio is not None and (decided := self._decided(ratio)):
            policy, ratio = cast(Policy, decided), None
        if policy == "correction":
            setter = self._setter(path)
            if setter is not None:
                self._correct(setter, {}, (name, after))
        elif policy == "world":
            revised = fact.type.revised
            if revised is None or name == "reached" or name not in revised.__struct_encode_fields__:
                # No event changes this field: it was recorded as the sheet had it.
                self._asked("changed", leaf, subject, name, _brief(before), _brief(after))
                return
            event = msgspec.convert({**ids, name: after}, revised, dec_hook=decode_hook)
            self.announce(event, ratio=ratio)

    def _policy(self, fact: StatedFact, leaf: Leaf, default: Policy) -> Policy:
        own = leaf.value.on_change if isinstance(leaf.value, (ColumnValue, TextValue)) else None
        return own or fact.block.on_change or default

    def _is_of_the_past(self, fact: StatedFact) -> bool:
        """Whether the fact is a value of a day before the last edition: publishers revise such values silently."""
        event = fact.event
        if not isinstance(event, MetricReported) or event.date is None:
            return False
        return first_day(event.date) < self.builder.on

    def _asked(
        self, kind: QuestionKind, leaf: Leaf, subject: tuple[str, ...], name: str, before: str, after: str
    ) -> Policy:
        """The editor's answer; without one, the question is added and nothing is recorded."""
        column = leaf.value if isinstance(leaf.value, ColumnValue) else None
        at = self.builder.reader.cells.error(self.stated.cells, column, ImportText("row-gone", name="")).at
        title = self.stated.title
        if kind == "elsewhere":
            message = ImportText("ask-elsewhere", name=title, field=name, before=before, after=after)
        else:
            message = ImportText("ask-changed", name=title, field=name, before=before, after=after)
        question = OpenQuestion(kind, at, subject, message)
        answer = self.builder.answers.get(question.id)
        if answer is None:
            self.changes.questions.append(question)
            return "leave"
        return cast(Policy, answer)

    # --- provenance ---------------------------------------------------------------------------------------------------

    def _setter(self, path: str) -> SetBy | None:
        if self._set_by is None:
            self._set_by = self.builder.registry.set_by(self.deal.slug, self.builder.on)
        return self._set_by.get(path)

    def _is_of_another_source(self, path: str) -> bool:
        setter = self._setter(path)
        ours = {source.publisher for source in self.stated.sources}
        return setter is not None and bool(setter.publishers) and not ours & set(setter.publishers)

    def _correct(self, setter: SetBy, replacement: dict[str, Any], change: tuple[str, Any] | None) -> None:
        """Correct the event that set a value, together with the row's other corrections of that event."""
        # As it reads now: an earlier correction of another field stays.
        recorded = dict(self.builder.registry.event(setter.event)["reads"]["event"])
        if change is not None:
            replacement = {**replacement, "event": {**recorded, change[0]: change[1]}}
        earlier = self._corrections.get(setter.event)
        if earlier is not None:
            # Added when all of them are known: the later one has both.
            replacement = {**earlier, **replacement, "event": {**recorded, **earlier.get("event", {})}}
            if change is not None:
                replacement["event"][change[0]] = change[1]
            self.changes.announcements = [
                one
                for one in self.changes.announcements
                if not (isinstance(one.body.event, EventCorrected) and one.body.event.corrects == setter.event)
            ]
        self._corrections[setter.event] = replacement
        event = EventCorrected(
            corrects=setter.event,
            replacement=msgspec.convert(replacement, Replacement, dec_hook=decode_hook),
            reason=str(ImportText("correction-reason", published=self.builder.on)),
        )
        self.builder._announce(self.changes, self.stated, self.deal.slug, event, None)

    # --- numbers ------------------------------------------------------------------------------------------------------

    def _ratio(self, leaf: Leaf, before: Any, after: Any) -> Ratio | None:
        """By which factor a number changed. One factor in most rows of a column is a changed definition."""
        old, new = _number(before), _number(after)
        if not isinstance(leaf.value, ColumnValue) or not old or not new:
            return None
        return Ratio(leaf.value.column[0], round(math.log(float(new / old)) / RATIO_STEP))

    def _decided(self, ratio: Ratio) -> str | None:
        """What the editor decided about a column that was redefined by this factor, or by one close to it."""
        near = (Ratio(ratio.column, ratio.step + difference) for difference in (0, -1, 1))
        return next((answer for one in near if (answer := self.builder.answers.get(redefinition(one).id))), None)

    def _remember_shrunk(self, before: Any, after: Any) -> None:
        for site in self.state.get("sites") or ():
            for text in (site.get("address"), *(site.get("name") or {}).values()):
                if text:
                    lost = (_number(before) or Decimal(0)) - (_number(after) or Decimal(0))
                    self.builder.shrunk[text.casefold()] = (self.stated.title, self.deal.slug, f"{lost.normalize():f}")


def redefinition(ratio: Ratio, changed: int = 0, total: int = 0) -> OpenQuestion:
    """The question whether a column was redefined, which changed its values by one factor."""
    message = ImportText("ask-redefined", column=ratio.column, factor=ratio.factor, changed=changed, total=total)
    return OpenQuestion("redefined", ratio.column, (ratio.column, ratio.factor), message)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, Mapping):
        value = value.get("value")
    try:
        return Decimal(str(value)) if value is not None else None
    except ArithmeticError:
        return None


def _is_less(one: Any, other: Any) -> bool:
    a, b = _number(one), _number(other)
    return a is not None and b is not None and a < b


def _brief(value: Any) -> str:
    """A value in a question."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        if "currency" in value:
            return " ".join(str(value[name]) for name in ("currency", "value") if value.get(name))
        return ", ".join(str(text) for text in value.values() if text is not None)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
