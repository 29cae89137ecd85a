"""A deal's way from intention to operation: when each step was taken, what went quiet, and what others call its stage.

Stages are declared by somebody or inferred by a named rule, and the two are never mixed (`StageState.basis`). What
follows from nothing having been announced (`gone_quiet`) is worked out for the day that is asked about and stored
nowhere: silence is not an announcement, and absence is not withdrawal. Pure: the day comes by argument.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from datetime import date
from typing import Literal
from uuid import UUID

from msgspec import Struct

from registry.domain.deal import StageState
from registry.events.types import Stage

LADDER: tuple[Stage, ...] = ("intention", "signed", "committed", "construction", "operating")

INACTIVITY_MONTHS = 18
QUIET_RULE = f"gone-quiet-{INACTIVITY_MONTHS}-months"

# Where the deal has arrived, or somebody said that it stopped, there is nothing to be quiet about.
_SETTLED: frozenset[Stage] = frozenset({"operating", "suspended", "shelved", "withdrawn", "cancelled"})


class StageChange(Struct, frozen=True):
    """The stage from `on`, and the event that set it."""

    on: date
    stage: StageState
    event: UUID | None = None


class LadderStep(Struct, frozen=True):
    """A step of the ladder: the first day it was reached, on what basis, by which event; `on` None: nobody said so."""

    stage: Stage
    on: date | None = None
    basis: str | None = None
    rule: str | None = None
    event: UUID | None = None


class Inactivity(Struct, frozen=True):
    """Nothing has been published about the deal since `last_published`; `since` is the day on which that became a sign.

    Inferred by `rule` for the day asked about; the declared stage stays what it is.
    """

    since: date
    last_published: date
    note: Literal["gone_quiet"] = "gone_quiet"
    rule: str = QUIET_RULE


def ladder(steps: Iterable[StageChange]) -> tuple[LadderStep, ...]:
    """When each of the five steps was first reached. One that nobody spoke of stays empty, even before later ones."""
    first: dict[Stage, StageChange] = {}
    for step in sorted(steps, key=lambda s: s.on):
        first.setdefault(step.stage.value, step)
    return tuple(
        LadderStep(stage, reached.on, reached.stage.basis, reached.stage.rule, reached.event)
        if (reached := first.get(stage))
        else LadderStep(stage)
        for stage in LADDER
    )


def inactivity(stage: StageState | None, last_published: date | None, asked: date) -> Inactivity | None:
    """Whether the deal had gone quiet by `asked`: nothing published for 18 months, and not operating yet."""
    if last_published is None or (stage is not None and stage.value in _SETTLED):
        return None
    since = _later(last_published, INACTIVITY_MONTHS)
    return Inactivity(since, last_published) if since <= asked else None


def _later(day: date, months: int) -> date:
    """The same day so many months later, or the last of that month where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


# --- what others call it ----------------------------------------------------------------------------------------------


class Crosswalk(Struct, frozen=True):
    """Our stage in another vocabulary; `exact` is False where theirs is wider, narrower or asks for other evidence."""

    code: str
    name: str
    exact: bool


GEM_SOURCE = "https://globalenergymonitor.org/projects/global-solar-power-tracker/methodology/"
"""Global Energy Monitor, status categories of its trackers. It marks what it infers ("shelved - inferred 2 y")."""

GEM: dict[Stage, Crosswalk] = {
    "intention": Crosswalk("announced", "Announced", True),
    # Signed and committed deals may or may not seek permits, land or financing yet, which is GEM's test.
    "signed": Crosswalk("announced", "Announced", False),
    "committed": Crosswalk("pre-construction", "Pre-construction", False),
    "construction": Crosswalk("construction", "Construction", True),
    "operating": Crosswalk("operating", "Operating", True),
    # GEM also calls shelved what stopped in the middle of construction.
    "suspended": Crosswalk("shelved", "Shelved", False),
    "shelved": Crosswalk("shelved", "Shelved", True),
    "withdrawn": Crosswalk("cancelled", "Cancelled", False),
    "cancelled": Crosswalk("cancelled", "Cancelled", True),
}

IATI_SOURCE = "https://iatistandard.org/en/iati-standard/203/codelists/activitystatus/"
"""IATI 2.03, codelist ActivityStatus. It has no stage between being planned and being carried out."""

IATI: dict[Stage, Crosswalk] = {
    "intention": Crosswalk("1", "Pipeline/identification", True),
    "signed": Crosswalk("1", "Pipeline/identification", False),
    "committed": Crosswalk("1", "Pipeline/identification", False),
    "construction": Crosswalk("2", "Implementation", True),
    # An investment that operates is carried out; IATI closes an activity when its money has been spent.
    "operating": Crosswalk("2", "Implementation", False),
    "suspended": Crosswalk("6", "Suspended", True),
    "shelved": Crosswalk("6", "Suspended", False),
    "withdrawn": Crosswalk("5", "Cancelled", False),
    "cancelled": Crosswalk("5", "Cancelled", True),
}
