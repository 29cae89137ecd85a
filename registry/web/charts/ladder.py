"""The stage ladder: five steps from intention to operation, each reached or not."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.stages import LADDER, LadderStep, StageState


class LadderMark(Struct, frozen=True):
    """One step as the page shows it: `current` is the deal's stage, `passed` a step at or below the highest one.

    A passed step without a date (`step.on` None) was never reported.
    """

    step: LadderStep
    current: bool
    passed: bool


def ladder_marks(steps: Sequence[LadderStep], stage: StageState | None) -> list[LadderMark]:
    """The ladder of a deal at its stage. A stage off it, such as `cancelled`, keeps the steps reached before.

    A step shows how its stage was first reached; the current one shows what the deal's stage rests on now.
    """
    current = stage.value if stage else None
    if current in LADDER:
        highest = LADDER.index(current)
    else:
        highest = max((i for i, step in enumerate(steps) if step.on is not None), default=-1) if current else -1
    return [
        LadderMark(_now(step, stage) if stage and step.stage == current else step, step.stage == current, i <= highest)
        for i, step in enumerate(steps)
    ]


def _now(step: LadderStep, stage: StageState) -> LadderStep:
    return replace(step, on=stage.since or stage.observed_on, basis=stage.basis, rule=stage.rule)
