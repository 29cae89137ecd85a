"""Stages of a deal: the ladder from intention to operation, inference, inactivity, and external stage codes.

A stage is declared by a source, observed by one, or inferred by a named rule (`StageState.basis`); an inferred stage
never replaces a later one, except that a deal without any standing pledge left is inferred to be withdrawn until its
next pledge.
Inactivity is computed for the day of the question and not stored: it is no event, and it does not mean that the deal
was withdrawn. Functions here are pure; the day is an argument.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from msgspec import Struct

from registry.events.values import Certainty, Stage

LADDER: tuple[Stage, ...] = ("intention", "signed", "committed", "construction", "operating")
"""The stages that a deal passes through, in order. The other stages end or interrupt it."""

ENDED_STAGES: tuple[Stage, ...] = ("cancelled", "withdrawn")
"""The stages of a deal that no longer stands: lists have it, totals do not."""

INACTIVITY_MONTHS = 18
INACTIVITY_RULE = f"gone-quiet-{INACTIVITY_MONTHS}-months"

# Where the deal operates, or a source said that it stopped, no news is expected.
_SETTLED: frozenset[Stage] = frozenset({"operating", "retired", "suspended", "shelved", *ENDED_STAGES})


class StageState(Struct, frozen=True, gc=False):
    """The stage and since when. `basis` is declared, observed or inferred; `rule` names the rule of an inferred stage.

    An observed stage has no `since`: a source found the deal in it on `observed_on`, with this `certainty`.
    """

    value: Stage
    basis: str
    since: date | None
    rule: str | None = None
    observed_on: date | None = None
    certainty: Certainty | None = None


class Inference(Struct, frozen=True):
    """The stage that an event implies, by a named rule."""

    stage: Stage
    rule: str


ALL_PLEDGES_WITHDRAWN = "all-pledges-withdrawn"

# A groundbreaking is a ceremony and does not prove construction, so it implies no stage.
INSTRUMENT_SIGNED = Inference("signed", "instrument-signed")
BY_COMMITMENT: dict[str | None, Inference] = {
    "intention": Inference("intention", "intention-announced"),
    "pledge": Inference("committed", "amount-pledged"),
    "binding": Inference("committed", "amount-pledged"),
    "budget": Inference("committed", "amount-budgeted"),
}
BY_MILESTONE: dict[str | None, Inference] = {
    "construction_started": Inference("construction", "construction-reported"),
    "operations_started": Inference("operating", "operations-reported"),
}


def infer_stage(current: StageState | None, inference: Inference | None, on: date) -> StageState | None:
    """The stage after an event that implies one: an inference moves forward on the ladder, and never off a stop."""
    if inference is None:
        return current
    if current is not None and (
        current.value not in LADDER or LADDER.index(current.value) >= LADDER.index(inference.stage)
    ):
        return current
    return StageState(inference.stage, "inferred", on, inference.rule)


def declare_stage(current: StageState | None, stage: Stage, on: date) -> StageState:
    """The stage that a source declares. One that declares the current stage again does not move its `since`."""
    since = current.since if current is not None and current.value == stage else on
    return StageState(stage, "declared", since)


def observe_stage(current: StageState | None, stage: Stage, certainty: Certainty | None, on: date) -> StageState:
    """The stage in which a source found the deal. A stage that is known already keeps its basis and its `since`.

    If the same stage is observed again, the first observation stays, unless the later one is more certain.
    """
    if current is not None and current.value == stage:
        is_more_certain = _CERTAINTY[certainty] > _CERTAINTY[current.certainty]
        if current.basis != "observed" or not is_more_certain:
            return current
    return StageState(stage, "observed", None, observed_on=on, certainty=certainty)


_CERTAINTY: dict[Certainty | None, int] = {"suspected": 0, None: 1, "reported": 1, "confirmed": 2}


def withdraw_stage(current: StageState | None, on: date) -> StageState | None:
    """The stage once no pledge stands: withdrawn, unless a source declared another or the deal was built already."""
    if current is not None and (
        current.basis == "declared" or current.value not in LADDER or current.value in ("construction", "operating")
    ):
        return current
    return StageState("withdrawn", "inferred", on, ALL_PLEDGES_WITHDRAWN)


def stage_before_withdrawal(current: StageState | None) -> StageState | None:
    """The stage from which a new pledge is inferred: none, where it was withdrawn only because no pledge stood."""
    return None if current is not None and current.rule == ALL_PLEDGES_WITHDRAWN else current


class StageSignal(Struct, frozen=True, gc=False):
    """What an event says about the stage.

    Attributes:
        declared: The stage that a source declares.
        observed: The stage in which a source found the deal, with this certainty.
        inference: The stage that the event implies.
        pledges: 1 for a new pledge, -1 for a withdrawn one.
    """

    declared: Stage | None = None
    observed: Stage | None = None
    certainty: Certainty | None = None
    inference: Inference | None = None
    pledges: int = 0

    @property
    def kinds(self) -> tuple[SignalKind, ...]:
        """The ways in which the signal may change the stage."""
        kinds: list[SignalKind] = []
        if self.declared is not None:
            kinds.append(("declared", self.declared))
        if self.observed is not None:
            kinds.append(("observed", self.observed))
        if self.inference is not None:
            kinds.append(("inferred", self.inference.stage))
        if self.pledges:
            kinds.append(("pledged" if self.pledges > 0 else "withdrawn", None))
        return tuple(kinds)


SignalKind: TypeAlias = tuple[Literal["declared", "observed", "inferred", "pledged", "withdrawn"], Stage | None]


def next_stage(current: StageState | None, signal: StageSignal, on: date, *, is_pledged: bool) -> StageState | None:
    """The stage after a signal.

    Args:
        current: The stage before it.
        signal: The signal.
        on: The effective date of its event.
        is_pledged: Whether any pledge stands after the event.
    """
    if signal.declared is not None:
        return declare_stage(current, signal.declared, on)
    if signal.observed is not None:
        return observe_stage(current, signal.observed, signal.certainty, on)
    if signal.pledges < 0:
        return current if is_pledged else withdraw_stage(current, on)
    if signal.pledges > 0:
        current = stage_before_withdrawal(current)
    return infer_stage(current, signal.inference, on)


def may_change(current: StageState | None, kind: SignalKind) -> bool:
    """Whether a signal of a kind may change a stage. It is never False where `next_stage` gives another one."""
    how, stage = kind
    match how:
        case "declared":
            return current is None or (current.basis, current.value) != ("declared", stage)
        case "observed":
            return current is None or current.value != stage or current.basis == "observed"
        case "inferred":
            assert stage is not None
            if current is None or current.rule == ALL_PLEDGES_WITHDRAWN:
                return True  # A pledge that implies a stage ends a withdrawal.
            return current.value in LADDER and LADDER.index(current.value) < LADDER.index(stage)
        case "pledged":
            return current is not None and current.rule == ALL_PLEDGES_WITHDRAWN
        case "withdrawn":
            return withdraw_stage(current, date.max) is not current
        case _:
            assert_never(how)


class StageChange(Struct, frozen=True):
    """The stage from `on`, and the event that set it."""

    on: date
    stage: StageState
    event: UUID | None = None


class LadderStep(Struct, frozen=True):
    """A stage of the ladder: when it was first reached, on what basis, by which event. `on` is None if never."""

    stage: Stage
    on: date | None = None
    basis: str | None = None
    rule: str | None = None
    event: UUID | None = None


class Inactivity(Struct, frozen=True):
    """No source has been published since `last_published`; `since` is the day that the inactivity period ended.

    Inferred by `rule` for the day of the question; the declared stage does not change.
    """

    since: date
    last_published: date
    note: Literal["gone_quiet"] = "gone_quiet"
    rule: str = INACTIVITY_RULE


def ladder(changes: Iterable[StageChange]) -> tuple[LadderStep, ...]:
    """When each stage of the ladder was first reached. One that no event set stays empty, even before later ones."""
    first: dict[Stage, StageChange] = {}
    for change in sorted(changes, key=lambda c: c.on):
        first.setdefault(change.stage.value, change)
    return tuple(
        LadderStep(stage, reached.on, reached.stage.basis, reached.stage.rule, reached.event)
        if (reached := first.get(stage))
        else LadderStep(stage)
        for stage in LADDER
    )


def inactivity(stage: StageState | None, last_published: date | None, on: date) -> Inactivity | None:
    """Whether a deal was inactive on a day: not settled, and no source published for INACTIVITY_MONTHS."""
    if last_published is None or (stage is not None and stage.value in _SETTLED):
        return None
    since = _add_months(last_published, INACTIVITY_MONTHS)
    return Inactivity(since, last_published) if since <= on else None


def _add_months(day: date, months: int) -> date:
    """The same day some months later, or the last day of that month if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


# --- external stage codes ---------------------------------------------------------------------------------------------


class Crosswalk(Struct, frozen=True):
    """A stage in an external vocabulary. `exact` is False where the code is wider, narrower or needs other evidence."""

    code: str
    name: str
    exact: bool


# Global Energy Monitor, status categories of its trackers. GEM marks inferred statuses ("shelved - inferred 2 y").
# https://globalenergymonitor.org/projects/global-solar-power-tracker/methodology/
GEM: dict[Stage, Crosswalk] = {
    "intention": Crosswalk("announced", "Announced", True),
    # GEM tests whether permits, land or financing are sought; signed and committed deals may not have begun to.
    "signed": Crosswalk("announced", "Announced", False),
    "committed": Crosswalk("pre-construction", "Pre-construction", False),
    "construction": Crosswalk("construction", "Construction", True),
    "operating": Crosswalk("operating", "Operating", True),
    "retired": Crosswalk("retired", "Retired", True),
    # GEM's code also covers projects that stopped during construction.
    "suspended": Crosswalk("shelved", "Shelved", False),
    "shelved": Crosswalk("shelved", "Shelved", True),
    "withdrawn": Crosswalk("cancelled", "Cancelled", False),
    "cancelled": Crosswalk("cancelled", "Cancelled", True),
}

# IATI 2.03, codelist ActivityStatus. It has no status between planned and implemented.
# https://iatistandard.org/en/iati-standard/203/codelists/activitystatus/
IATI: dict[Stage, Crosswalk] = {
    "intention": Crosswalk("1", "Pipeline/identification", True),
    "signed": Crosswalk("1", "Pipeline/identification", False),
    "committed": Crosswalk("1", "Pipeline/identification", False),
    "construction": Crosswalk("2", "Implementation", True),
    # IATI closes an activity when its money is spent, so an operating investment is still being implemented.
    "operating": Crosswalk("2", "Implementation", False),
    "retired": Crosswalk("4", "Closed", True),
    "suspended": Crosswalk("6", "Suspended", True),
    "shelved": Crosswalk("6", "Suspended", False),
    "withdrawn": Crosswalk("5", "Cancelled", False),
    "cancelled": Crosswalk("5", "Cancelled", True),
}
